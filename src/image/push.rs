//! `cofferdam image push`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_registry::compress::{CompressError, Compression};
use cofferdam_registry::push::cache::{FileCache, LayerCache, MemoryCache};
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::{Allow, Options, Pushed, Rules};

use super::progress::Shown;
use super::{CANCELLED, Failure, source, target};
use crate::commands::image::{Compression as Named, Push};
use crate::folders::env;

const LEVEL: i32 = 3;
const WRONG_LINE: u8 = 2;

pub async fn push(args: &Push) -> anyhow::Result<ExitCode> {
    let options = match options(args) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("cofferdam: --level: {error}");
            return Ok(ExitCode::from(WRONG_LINE));
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
            // What was dropped tells the registry so.
            tokio::time::sleep(Duration::from_millis(300)).await;
            eprintln!("cofferdam: cancelled; nothing was tagged");
            return Ok(ExitCode::from(CANCELLED));
        }
    };
    shown.end();
    match done {
        Ok(pushed) => {
            say(&pushed, args.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => failure(&error).say(args.json, helper.as_deref()),
    }
}

fn failure(error: &PushError) -> Failure {
    Failure { fault: error.fault(), text: error.to_string(), retriable: error.is_retriable() }
}

fn options(args: &Push) -> Result<Options, CompressError> {
    let level = args.level.unwrap_or(LEVEL);
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
    Ok(Options { compression: compression.check()?, rules, ..Options::default() })
}

fn cache(none: bool) -> Arc<dyn LayerCache> {
    let set = |name: &str| env(name).filter(|text| !text.is_empty()).map(std::path::PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    match folder.filter(|_| !none) {
        Some(folder) => Arc::new(FileCache::open(folder.join("cofferdam").join("layers.jsonl"))),
        None => Arc::new(MemoryCache::new()),
    }
}

fn say(pushed: &Pushed, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(pushed)?);
        return Ok(());
    }
    for note in &pushed.notes {
        eprintln!("note: {note}");
    }
    let platforms: Vec<&str> = pushed.images.iter().map(|image| image.platform.as_str()).collect();
    eprintln!(
        "pushed {}: {} layers, {} skipped, {} mounted; {} sent",
        platforms.join(", "),
        pushed.layers.len(),
        pushed.skipped,
        pushed.mounted,
        super::progress::bytes(pushed.sent)
    );
    println!("{}", pushed.reference);
    Ok(())
}
