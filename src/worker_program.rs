//! Joins controller and runtime: the arguments with which the controller's supervisor starts the runtime's worker.

use std::ffi::OsString;

use anyhow::Context;
use cofferdam_controller::supervisor::WorkerProgram;
use cofferdam_runtime::worker::WorkerConfig;

use crate::folders::env;
use crate::telemetry::{LOG, LogFormat};

/// The variables of ours that the worker gets; it has no others.
const PASSED_ON: [&str; 2] = [LOG, "RUST_BACKTRACE"];

/// This program as a worker with that configuration.
pub fn worker_program(config: &WorkerConfig, log: LogFormat, quiet: bool) -> anyhow::Result<WorkerProgram> {
    let json = serde_json::to_string(config).context("the worker's configuration")?;
    let args = |command: &str| -> Vec<OsString> {
        let mut args: Vec<OsString> = ["internal", command, "--config", &json].map(Into::into).to_vec();
        args.extend(["--parent".into(), std::process::id().to_string().into()]);
        args.extend(["--log-format".into(), log.name().into()]);
        args
    };
    let mut variables: Vec<(OsString, OsString)> =
        PASSED_ON.iter().filter_map(|name| Some(((*name).into(), env(name)?.into()))).collect();
    if quiet && env(LOG).is_none() {
        variables.push((LOG.into(), "error".into()));
    }
    Ok(WorkerProgram {
        // The very file that runs here, also when another version was put in its place meanwhile.
        program: "/proc/self/exe".into(),
        prepare: args("prepare"),
        worker: args("worker"),
        env: variables,
    })
}
