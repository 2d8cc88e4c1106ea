//! `cofferdam image inspect`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use cofferdam_registry::inspect::{self, Inspection};
use cofferdam_registry::{ArchiveError, ArchiveLimits, Client, Rules};

use super::args::Inspect;
use super::{Failure, Place, archive_fault, layers, reference, source};
use crate::progress::bytes;
use crate::table;
use crate::terminal::{json as print_json, say};

pub(super) async fn inspect(args: &Inspect) -> anyhow::Result<ExitCode> {
    let path = Path::new(&args.what);
    let (found, place) = if args.what == "-" || path.exists() {
        let (source, _) = source(path)?;
        let rules = Rules::inspecting(args.image.clone());
        let read = move || inspect::archive(source, &ArchiveLimits::default(), &rules);
        (tokio::task::spawn_blocking(read).await?.map_err(|error| archive_failure(&error)), None)
    } else if names_a_file(&args.what) {
        bail!("{}: no such file or folder", args.what);
    } else if args.image.is_some() {
        bail!("--image names an image in an archive, and {} is in a registry", args.what);
    } else {
        let place = match Place::find(reference(&args.what).map_err(anyhow::Error::msg)?, &args.registry)? {
            Ok(place) => place,
            Err(failure) => return failure.report(args.json, None),
        };
        let found = match Client::new(&place.target) {
            Ok(client) => inspect::reference(&client).await,
            Err(error) => Err(error),
        };
        let failure = |error: cofferdam_registry::client::error::ClientError| Failure {
            fault: error.fault(),
            text: error.to_string(),
            retriable: error.is_retriable(),
        };
        (found.map_err(failure), Some(place))
    };
    match found {
        Ok(inspection) => {
            if args.json {
                print_json(&inspection)?;
            } else {
                show(&inspection)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => failure.report(args.json, place.as_ref()),
    }
}

/// Returns true for a text that can only mean a file. Docker Hub is not asked for `./agent` and `agent.tar.gz`.
fn names_a_file(text: &str) -> bool {
    let archive = [".tar", ".gz", ".tgz", ".zst", ".oci"].iter().any(|end| text.ends_with(end));
    (archive && !text.contains([':', '@'])) || text.starts_with(['.', '/', '~'])
}

fn archive_failure(error: &ArchiveError) -> Failure {
    Failure { fault: archive_fault(error), text: error.to_string(), retriable: false }
}

fn show(inspection: &Inspection) -> anyhow::Result<()> {
    let line = |name: &str, text: &str| {
        if text.is_empty() { Ok(()) } else { say!("{name:<12}{text}") }
    };
    line("digest", &inspection.digest.map(|digest| digest.to_string()).unwrap_or_default())?;
    line("type", inspection.media_type.as_deref().unwrap_or_default())?;
    line("names", &inspection.names.join(" "))?;
    for image in &inspection.images {
        say!("")?;
        let config = &image.config;
        if image.names != inspection.names {
            line("names", &image.names.join(" "))?;
        }
        line("platform", &config.platform)?;
        line("digest", &image.digest.map(|digest| digest.to_string()).unwrap_or_default())?;
        line("config", &image.config_digest.to_string())?;
        line("created", config.created.as_deref().unwrap_or_default())?;
        line("entry point", &words(&config.entrypoint))?;
        line("command", &words(&config.cmd))?;
        line("user", &config.user)?;
        line("folder", &config.working_dir)?;
        line("variables", &config.env.join(" "))?;
        line("ports", &config.exposed_ports.join(" "))?;
        let total: u64 = image.layers.iter().map(|layer| layer.size).sum();
        line("size", &format!("{} in {}", bytes(total), layers(image.layers.len())))?;
        let rows: Vec<_> = image.layers.iter().map(|layer| vec![layer.digest.to_string(), bytes(layer.size)]).collect();
        table::print(&["LAYER", "SIZE"], &rows)?;
    }
    for note in &inspection.notes {
        say!("note: {note}")?;
    }
    Ok(())
}

/// A command line as JSON, which shows where each word ends.
fn words(words: &[String]) -> String {
    if words.is_empty() { String::new() } else { serde_json::to_string(words).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::names_a_file;

    #[test]
    fn a_file_that_is_not_there_is_no_image() {
        for file in ["nope.tar", "agent.tar.gz", "a/b.tgz", "./agent", "/tmp/agent", "../x:1", "~/x"] {
            assert!(names_a_file(file), "{file}");
        }
        for image in
            ["agent", "team/agent:1.0", "r.example/a:1.tar", "r.example/team/agent@sha256:00", "localhost:5000/a"]
        {
            assert!(!names_a_file(image), "{image}");
        }
    }
}
