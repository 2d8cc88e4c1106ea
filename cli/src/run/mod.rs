//! `cofferdam run`: makes the request, runs it on a server or on a worker of its own, shows its events, and returns its
//! exit status.

pub(crate) mod args;
mod events;
mod input;
mod own_folder;
mod places;
mod repl;
mod show;
mod target;

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cofferdam_contract::{Outcome, RunRequest, Status};

use crate::terminal::{failed, json, note};
use crate::{Cancelled, Machine};
use args::Args;
use places::Places;
use show::Show;
use target::Target;

/// Exit statuses that are not the code's own, as the help lists them.
const USAGE: u8 = 2;
const TIMEOUT: u8 = 124;
const LIMIT: u8 = 125;
const REFUSED: u8 = 126;
const CANCELLED: u8 = 130;

/// Runs the command. Its own failures have a status that the code rarely uses.
pub(crate) fn main(args: &Args, machine: &dyn Machine) -> ExitCode {
    go(args, machine).map_or_else(
        |error| {
            // The start was cancelled: there is no run yet.
            let status = if error.is::<Cancelled>() { CANCELLED } else { REFUSED };
            failed(&error, status)
        },
        ExitCode::from,
    )
}

fn go(args: &Args, machine: &dyn Machine) -> anyhow::Result<u8> {
    let _log = machine.start_log("warn")?;
    let repl = args.source.is_none();
    if repl && !stdin().is_terminal() {
        note!("cofferdam: nothing to run: name a file, or `-` for standard input; see `cofferdam run --help`");
        return Ok(USAGE);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let runtime = &runtime;
    let request = input::request(args)?;
    let target = runtime.block_on(Target::find(args, machine))?;
    let status = if repl {
        repl::talk(args, runtime, &target, request, machine)
    } else if args.json {
        runtime.block_on(print_json(args, &target, &request))
    } else {
        runtime.block_on(stream(args, &target, &request))
    };
    runtime.block_on(target.end());
    status
}

/// Figures go beside the source unless --output names a folder.
fn places(args: &Args) -> Places {
    let beside = args.source.as_deref().filter(|source| *source != "-").and_then(|source| Path::new(source).parent());
    let figures = args.output.as_deref().or(beside).map_or_else(PathBuf::new, Path::to_owned);
    Places::new(figures, args.output.clone())
}

async fn stream(args: &Args, target: &Target, request: &RunRequest) -> anyhow::Result<u8> {
    let mut show = Show::new(places(args), args.svg, false);
    let run = async {
        let outcome = target.stream(request, &mut |event| show.event(event)).await?;
        show.files(target, &outcome).await?;
        Ok(status(&outcome))
    };
    until_ctrl_c(run).await
}

async fn print_json(args: &Args, target: &Target, request: &RunRequest) -> anyhow::Result<u8> {
    let run = async {
        let outcome = target.run(request).await?;
        json(&outcome)?;
        if args.output.is_some() {
            Show::new(places(args), args.svg, false).files(target, &outcome).await?;
        }
        Ok(status(&outcome))
    };
    until_ctrl_c(run).await
}

/// Ctrl-C drops the call, which cancels the run.
async fn until_ctrl_c(run: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    tokio::select! {
        status = run => status,
        _ = tokio::signal::ctrl_c() => {
            note!("cancelled");
            Ok(CANCELLED)
        }
    }
}

fn status(outcome: &Outcome) -> u8 {
    match outcome.status {
        Status::Ok | Status::Error => {
            // The lowest eight bits, as in a shell, but a failure stays a failure.
            let code = outcome.exit_code.unwrap_or(i32::from(outcome.status == Status::Error));
            let low = u8::try_from(code & 0xff).unwrap_or(1);
            if low == 0 && code != 0 { 1 } else { low }
        }
        Status::Timeout => TIMEOUT,
        Status::Limit => LIMIT,
        Status::Cancelled => CANCELLED,
    }
}
