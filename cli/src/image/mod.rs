//! `cofferdam image`: pushes or inspects an image with the registry crate, and returns the exit status.

pub(crate) mod args;
mod inspect;
mod progress;
mod push;

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use cofferdam_registry::archive::ArchiveFault;
use cofferdam_registry::client::docker_config;
use cofferdam_registry::{ArchiveError, ArchiveSource, Fault, Reference, Target};

use crate::folders::env;
use crate::stdin;
use crate::terminal::{complain, json as print_json};
use args::{Command, Registry};

/// The exit status if the image is valid but the registry, the connection or the credentials failed.
const NOT_DONE: u8 = 126;

pub(crate) fn main(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = match command {
        Command::Push(args) => runtime.block_on(push::push(&args)),
        Command::Inspect(args) => runtime.block_on(inspect::inspect(&args)),
    };
    // Does not wait for a thread that still reads standard input.
    runtime.shutdown_background();
    done
}

/// A failed push or inspection.
struct Failure {
    fault: Fault,
    text: String,
    retriable: bool,
}

impl Failure {
    /// Reports it and returns the exit status. `place` is the registry, if one was asked.
    fn report(self, json: bool, place: Option<&Place>) -> anyhow::Result<ExitCode> {
        let mut text = self.text;
        if let (Some(place), Fault::Credentials) = (place, self.fault) {
            text.push_str(&format!(". {}", place.explanation));
        }
        complain(&text);
        if json {
            let problem = serde_json::json!({ "error": text, "fault": self.fault, "retriable": self.retriable });
            print_json(&problem)?;
        }
        Ok(if self.fault == Fault::Archive { ExitCode::FAILURE } else { ExitCode::from(NOT_DONE) })
    }
}

/// The party at fault for an archive. It is read here: one that breaks off is not whole, and the connection did not break.
fn archive_fault(error: &ArchiveError) -> Fault {
    match error.fault() {
        ArchiveFault::Archive | ArchiveFault::Limit | ArchiveFault::Transfer => Fault::Archive,
        ArchiveFault::Sink => Fault::Us,
    }
}

/// A registry with the credentials for it.
struct Place {
    target: Target,
    /// The origin of the credentials, for an error.
    explanation: String,
}

impl Place {
    /// The inner error is a file of credentials that is missing or damaged.
    fn find(reference: Reference, registry: &Registry) -> anyhow::Result<Result<Self, Failure>> {
        let user = rustix::process::getuid().as_raw();
        let found = match docker_config::find(&reference, &variable, user) {
            Ok(found) => found,
            Err(text) => return Ok(Err(Failure { fault: Fault::Credentials, text, retriable: false })),
        };
        let explanation = found.explain(reference.registry());
        let ca = match &registry.ca_file {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()))?.into()),
            None => None,
        };
        let (plain_http, token_host) = (registry.plain_http, registry.token_host.clone());
        let credentials = found.credentials;
        let target = Target { credentials, ca, plain_http, token_host, ..Target::new(reference) };
        Ok(Ok(Self { target, explanation }))
    }
}

/// A variable; `HOME` also from the user database, for services and jobs that run without it.
fn variable(name: &str) -> Option<String> {
    if name == "HOME" { std::env::home_dir().map(|home| home.display().to_string()) } else { env(name) }
}

/// An archive's source, and its size if known.
fn source(path: &Path) -> anyhow::Result<(ArchiveSource, Option<u64>)> {
    let mut file = if path.as_os_str() == "-" {
        // A redirected file can be read at any position, as the file itself.
        File::from(rustix::io::dup(std::io::stdin()).context("standard input")?)
    } else {
        File::open(path).with_context(|| path.display().to_string())?
    };
    let about = file.metadata().with_context(|| path.display().to_string())?;
    if about.is_dir() {
        return Ok((ArchiveSource::Directory(path.to_path_buf()), None));
    }
    if about.is_file() {
        return Ok((ArchiveSource::File(file), Some(about.len())));
    }
    if path.as_os_str() != "-" {
        return Ok((ArchiveSource::Stream(Box::new(file)), None));
    }
    let head = stdin::head(&mut file, 1)?;
    Ok((ArchiveSource::Stream(Box::new(Cursor::new(head).chain(file))), None))
}

/// A reference as typed at a terminal.
pub(crate) fn reference(text: &str) -> Result<Reference, String> {
    Reference::parse_familiar(text).map_err(|error| error.to_string())
}

fn layers(count: usize) -> String {
    if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_alone_is_no_image() {
        for alone in ["127.0.0.1:5000", "localhost:5000", "localhost", "10.0.0.7", "[::1]:5000", "r.example:443"] {
            let said = reference(alone).unwrap_err();
            assert!(said.contains("is a registry") && said.contains("REPOSITORY:TAG"), "{said}");
        }
        for image in ["busybox", "busybox:1.36", "team/agent:5000", "localhost:5000/a", "a.b/c", "foo.bar:latest"] {
            assert!(reference(image).is_ok(), "{image}");
        }
    }
}
