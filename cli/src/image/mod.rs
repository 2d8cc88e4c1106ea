//! `cofferdam image`: pushes or inspects an image with the registry crate, and returns the exit status.

pub(crate) mod args;
mod inspect;
mod progress;
mod push;

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cofferdam_registry::client::docker_config;
use cofferdam_registry::{ArchiveSource, Fault, Reference, Target};

use crate::folders::env;
use crate::terminal::{json as print_json, note};
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
        note!("cofferdam: {text}");
        if json {
            let problem = serde_json::json!({ "error": text, "fault": self.fault, "retriable": self.retriable });
            print_json(&problem)?;
        }
        Ok(if self.fault == Fault::Archive { ExitCode::FAILURE } else { ExitCode::from(NOT_DONE) })
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
            Some(path) => Some(std::fs::read(path).with_context(|| path.display().to_string())?.into()),
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
    let file = if path.as_os_str() == "-" {
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
    if about.file_type().is_char_device() && std::io::IsTerminal::is_terminal(&file) {
        bail!("standard input is a terminal: pipe an archive into it, for example from `docker save`");
    }
    Ok((ArchiveSource::Stream(Box::new(file)), None))
}

fn layers(count: usize) -> String {
    if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") }
}
