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
use cofferdam_registry::client::docker_config::{self, Found};
use cofferdam_registry::{ArchiveSource, Credentials, Fault, Reference, Target};

use crate::folders::env;
use crate::terminal::{json as print_json, note};
use args::{Command, Registry};

/// The exit status if the image is valid but the registry, the connection or the credentials failed.
const NOT_DONE: u8 = 126;
const CANCELLED: u8 = 130;

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
    /// Reports it and returns the exit status.
    fn report(self, json: bool, helper: Option<&str>) -> anyhow::Result<ExitCode> {
        let mut text = self.text;
        if let (Some(helper), Fault::Credentials) = (helper, self.fault) {
            text.push_str(&format!(
                "; docker's configuration uses the helper {helper} for this registry, which cofferdam does not run: set \
                 COFFERDAM_REGISTRY_USERNAME and COFFERDAM_REGISTRY_PASSWORD"
            ));
        }
        note!("cofferdam: {text}");
        if json {
            let problem = serde_json::json!({ "error": text, "fault": self.fault, "retriable": self.retriable });
            print_json(&problem)?;
        }
        Ok(if self.fault == Fault::Archive { ExitCode::FAILURE } else { ExitCode::from(NOT_DONE) })
    }
}

/// The registry with its credentials, and docker's credential helper for it if there are none.
fn target(reference: Reference, registry: &Registry) -> anyhow::Result<(Target, Option<String>)> {
    let Found { credentials, helper, .. } = docker_config::find(&reference, &env).map_err(anyhow::Error::msg)?;
    let ca = match &registry.ca_file {
        Some(path) => Some(std::fs::read(path).with_context(|| path.display().to_string())?.into()),
        None => None,
    };
    let helper = helper.filter(|_| credentials == Credentials::Anonymous);
    let (plain_http, token_host) = (registry.plain_http, registry.token_host.clone());
    Ok((Target { credentials, ca, plain_http, token_host, ..Target::new(reference) }, helper))
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
