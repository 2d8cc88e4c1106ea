//! What `cofferdam image` does: the arguments become a push or an inspection, and the outcome an exit status. The work
//! itself is the registry crate's.

mod inspect;
mod progress;
mod push;

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cofferdam_registry::client::docker_config::{self, Found};
use cofferdam_registry::{Credentials, Fault, Reference, Source, Target};

use crate::commands::image::{Command, Registry};
use crate::folders::env;

/// Where the image is as it should be and yet could not be pushed.
const NOT_DONE: u8 = 126;
pub const CANCELLED: u8 = 130;

pub fn main(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = match command {
        Command::Push(args) => runtime.block_on(push::push(&args)),
        Command::Inspect(args) => runtime.block_on(inspect::inspect(&args)),
    };
    // A thread that still reads standard input must not keep us.
    runtime.shutdown_background();
    done
}

/// Anything that went wrong with an image, as far as the command is concerned.
struct Failure {
    fault: Fault,
    text: String,
    retriable: bool,
}

impl Failure {
    /// Says it, and gives the exit status.
    fn say(self, json: bool, helper: Option<&str>) -> anyhow::Result<ExitCode> {
        let mut text = self.text;
        if let (Some(helper), Fault::Credentials) = (helper, self.fault) {
            text.push_str(&format!(
                ". docker's configuration leaves this registry to {helper}, which is not run: give the credentials in \
                 COFFERDAM_REGISTRY_USERNAME and COFFERDAM_REGISTRY_PASSWORD"
            ));
        }
        eprintln!("cofferdam: {text}");
        if json {
            let problem = serde_json::json!({ "error": text, "fault": self.fault, "retriable": self.retriable });
            println!("{}", serde_json::to_string_pretty(&problem)?);
        }
        Ok(if self.fault == Fault::Archive { ExitCode::FAILURE } else { ExitCode::from(NOT_DONE) })
    }
}

/// The registry, with the credentials that are found for it, and the helper that might know others.
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

/// An archive's source, and its size where that is known.
fn source(path: &Path) -> anyhow::Result<(Source, Option<u64>)> {
    let file = if path.as_os_str() == "-" {
        // Redirected from a file it can be read anywhere, as the file itself.
        File::from(rustix::io::dup(std::io::stdin()).context("standard input")?)
    } else {
        File::open(path).with_context(|| path.display().to_string())?
    };
    let about = file.metadata().with_context(|| path.display().to_string())?;
    if about.is_dir() {
        return Ok((Source::Directory(path.to_path_buf()), None));
    }
    if about.is_file() {
        return Ok((Source::File(file), Some(about.len())));
    }
    if about.file_type().is_char_device() && std::io::IsTerminal::is_terminal(&file) {
        bail!("standard input is a terminal: pipe an archive into it, such as from `docker save`");
    }
    Ok((Source::Stream(Box::new(file)), None))
}
