//! `cofferdam image push`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_registry::compress::{CompressError, Compression};
use cofferdam_registry::push::cache::{FileCache, LayerCache, MemoryCache};
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::{Allow, PushOptions, PushReport, Rules};

use super::args::{Compression as Named, Push};
use super::progress::Shown;
use super::{CANCELLED, Failure, source, target};
use crate::folders::set;
use crate::terminal::{json as print_json, note, say};

const DEFAULT_LEVEL: i32 = 3;
const USAGE: u8 = 2;

pub(super) async fn push(args: &Push) -> anyhow::Result<ExitCode> {
    let options = match options(args) {
        Ok(options) => options,
        Err(error) => {
            note!("cofferdam: --level: {error}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let (target, helper) = target(args.reference.clone(), &args.registry)?;
    let (source, size) = source(&args.path)?;
    let shown = Shown::start(size, args.json);
    let progress = shown.progress();
    let pushing = cofferdam_registry::push(source, &target, &options, cache(args.no_cache), &progress);
    let done = tokio::select! {
        done = pushing => done,
        _ = tokio::signal::ctrl_c() => {
            shown.end();
            // Dropping the push cancels its uploads at the registry.
            tokio::time::sleep(Duration::from_millis(300)).await;
            note!("cofferdam: cancelled; nothing was tagged");
            return Ok(ExitCode::from(CANCELLED));
        }
    };
    shown.end();
    match done {
        Ok(pushed) => {
            show(&pushed, args.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => failure(&error).report(args.json, helper.as_deref()),
    }
}

fn failure(error: &PushError) -> Failure {
    Failure { fault: error.fault(), text: error.to_string(), retriable: error.is_retriable() }
}

fn options(args: &Push) -> Result<PushOptions, CompressError> {
    let level = args.level.unwrap_or(DEFAULT_LEVEL);
    let compression = match args.compression {
        Named::Gzip => Compression::Gzip(level),
        Named::Zstd => Compression::Zstd(level),
        Named::None => Compression::None,
    };
    let rules = Rules {
        platform: args.platform.clone(),
        name: args.image.clone(),
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
        "pushed {}: {} layers, {} skipped, {} mounted; {} sent",
        platforms.join(", "),
        pushed.layers.len(),
        pushed.skipped,
        pushed.mounted,
        super::progress::bytes(pushed.sent)
    );
    say!("{}", pushed.reference)
}
