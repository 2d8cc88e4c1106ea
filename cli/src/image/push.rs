//! `cofferdam image push`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_registry::compress::CompressError;
use cofferdam_registry::push::cache::{FileCache, LayerCache, MemoryCache};
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::{Allow, PushOptions, PushReport, Rules};

use super::args::Push;
use super::progress::Shown;
use super::{Failure, Place, archive_fault, layers, source};
use crate::folders::set;
use crate::interrupt::interrupted;
use crate::progress::bytes;
use crate::terminal::{json as print_json, note, say};

const USAGE: u8 = 2;
/// The time for a dropped push to cancel its uploads at the registry.
const CANCEL_TIME: Duration = Duration::from_millis(300);

pub(super) async fn push(args: &Push) -> anyhow::Result<ExitCode> {
    let options = match options(args) {
        Ok(options) => options,
        Err(error) => {
            note!("cofferdam: --level: {error}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let place = match Place::find(args.reference.clone(), &args.registry)? {
        Ok(place) => place,
        Err(failure) => return failure.report(args.json, None),
    };
    let (source, size) = source(&args.path)?;
    let shown = Shown::start(size, args.json);
    let progress = shown.progress();
    let pushing = cofferdam_registry::push(source, &place.target, &options, cache(args.no_cache), &progress);
    let done = tokio::select! {
        done = pushing => Ok(done),
        signal = interrupted() => Err(signal),
    };
    drop(shown);
    match done {
        Ok(Ok(pushed)) => {
            show(&pushed, args.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(error)) => failure(&error).report(args.json, Some(&place)),
        Err(signal) => {
            tokio::time::sleep(CANCEL_TIME).await;
            note!("cofferdam: cancelled; nothing was tagged");
            Ok(ExitCode::from(signal as u8))
        }
    }
}

fn failure(error: &PushError) -> Failure {
    let (fault, retriable) = match error {
        PushError::Archive(archive) => (archive_fault(archive), false),
        error => (error.fault(), error.is_retriable()),
    };
    Failure { fault, text: error.to_string(), retriable }
}

fn options(args: &Push) -> Result<PushOptions, CompressError> {
    let compression = args.compression.choice().at(args.level, &args.reference);
    let rules = Rules {
        platform: args.platform.clone(),
        name: args.image.clone(),
        // A base image is pushed with a note. A deployment needs something to run.
        entry_point: false,
        allow: Allow { secrets: args.allow.clone(), devices: args.allow_devices },
        ..Rules::default()
    };
    Ok(PushOptions { compression: compression.check()?, rules, ..PushOptions::default() })
}

fn cache(disabled: bool) -> Arc<dyn LayerCache> {
    let path = |name: &str| set(name).map(PathBuf::from);
    let folder = path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")));
    match folder.filter(|_| !disabled) {
        Some(folder) => Arc::new(FileCache::open(folder.join("cofferdam").join("layers.jsonl"))),
        None => Arc::new(MemoryCache::new()),
    }
}

fn show(pushed: &PushReport, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(pushed);
    }
    for note in &pushed.notes {
        note!("note: {note}");
    }
    let platforms: Vec<&str> = pushed.images.iter().map(|image| image.platform.as_str()).collect();
    note!(
        "pushed {}: {}, {} skipped, {} mounted; {} sent",
        platforms.join(", "),
        layers(pushed.layers.len()),
        pushed.skipped,
        pushed.mounted,
        bytes(pushed.sent)
    );
    say!("{}", pushed.reference)
}
