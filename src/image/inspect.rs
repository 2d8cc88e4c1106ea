//! `cofferdam image inspect`.

use std::path::Path;
use std::process::ExitCode;

use cofferdam_registry::archive;
use cofferdam_registry::inspect::{self, Inspection};
use cofferdam_registry::{Allow, ArchiveError, Client, Fault, Limits, Reference, Rules};

use super::progress::bytes;
use super::{Failure, source, target};
use crate::commands::image::Inspect;
use crate::tool::table;

pub async fn inspect(args: &Inspect) -> anyhow::Result<ExitCode> {
    let path = Path::new(&args.what);
    let (found, helper) = if args.what == "-" || path.exists() {
        let (source, _) = source(path)?;
        let read = move || inspect::archive(source, &Limits::default(), &everything());
        (tokio::task::spawn_blocking(read).await?.map_err(|error| archive_failure(&error)), None)
    } else {
        let (target, helper) = target(Reference::parse_familiar(&args.what)?, &args.registry)?;
        let found = match Client::new(&target) {
            Ok(client) => inspect::reference(&client).await,
            Err(error) => Err(error),
        };
        let failure = |error: cofferdam_registry::client::error::ClientError| Failure {
            fault: error.fault(),
            text: error.to_string(),
            retriable: error.is_retriable(),
        };
        (found.map_err(failure), helper)
    };
    match found {
        Ok(inspection) => {
            if args.json {
                println!("{}", serde_json::to_string_pretty(&inspection)?);
            } else {
                show(&inspection);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => failure.say(args.json, helper.as_deref()),
    }
}

/// Whoever looks wants to see, whatever a push would say to it.
fn everything() -> Rules {
    let allow = Allow { secrets: vec!["*".to_owned()], devices: true };
    Rules { accepted: Vec::new(), entry_point: false, allow, ..Rules::default() }
}

fn archive_failure(error: &ArchiveError) -> Failure {
    let fault = match error.fault() {
        archive::Fault::Archive | archive::Fault::Limit => Fault::Archive,
        archive::Fault::Transfer => Fault::Network,
        archive::Fault::Sink => Fault::Us,
    };
    Failure { fault, text: error.to_string(), retriable: false }
}

fn show(inspection: &Inspection) {
    let line = |name: &str, text: &str| {
        if !text.is_empty() {
            println!("{name:<12}{text}");
        }
    };
    line("digest", &inspection.digest.map(|digest| digest.to_string()).unwrap_or_default());
    line("type", inspection.media_type.as_deref().unwrap_or_default());
    line("names", &inspection.names.join(" "));
    for image in &inspection.images {
        println!();
        let config = &image.config;
        line("platform", &config.platform);
        line("digest", &image.digest.map(|digest| digest.to_string()).unwrap_or_default());
        line("config", &image.config_digest.to_string());
        line("created", config.created.as_deref().unwrap_or_default());
        line("entry point", &words(&config.entrypoint));
        line("command", &words(&config.cmd));
        line("user", &config.user);
        line("folder", &config.working_dir);
        line("variables", &config.env.join(" "));
        line("ports", &config.exposed_ports.join(" "));
        let total: u64 = image.layers.iter().map(|layer| layer.size).sum();
        line("size", &format!("{} in {} layers", bytes(total), image.layers.len()));
        let rows: Vec<_> = image.layers.iter().map(|layer| vec![layer.digest.to_string(), bytes(layer.size)]).collect();
        table::print(&["LAYER", "SIZE"], &rows);
    }
    for note in &inspection.notes {
        println!("note: {note}");
    }
}

/// A command line as JSON has it: where one word ends is to be seen.
fn words(words: &[String]) -> String {
    if words.is_empty() { String::new() } else { serde_json::to_string(words).unwrap_or_default() }
}
