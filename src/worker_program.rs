//! Joins controller and runtime: the arguments with which the controller's supervisor starts the runtime's workers.

use std::ffi::OsString;

use anyhow::Context;
use cofferdam_controller::supervisor::{ToolProgram, WorkerProgram};
use cofferdam_runtime::tool_worker::ToolWorkerConfig;
use cofferdam_runtime::worker::WorkerConfig;

use crate::folders::env;
use crate::telemetry::{LOG, LogFormat};

/// The variables of ours that a worker gets; it has no others.
const PASSED_ON: [&str; 2] = [LOG, "RUST_BACKTRACE"];

/// The arguments of a child: its command, its configuration, its parent.
fn arguments(command: &str, config: &impl serde::Serialize, log: LogFormat) -> anyhow::Result<Vec<OsString>> {
    let json = serde_json::to_string(config).context("the worker's configuration")?;
    let mut args: Vec<OsString> = ["internal", command, "--config", &json].map(Into::into).to_vec();
    args.extend(["--parent".into(), std::process::id().to_string().into()]);
    args.extend(["--log-format".into(), log.name().into()]);
    Ok(args)
}

fn variables() -> Vec<(OsString, OsString)> {
    PASSED_ON.iter().filter_map(|name| Some(((*name).into(), env(name)?.into()))).collect()
}

/// The very file that runs here, also when another version was put in its place meanwhile.
const ITSELF: &str = "/proc/self/exe";

/// This program as a worker with that configuration.
pub fn worker_program(config: &WorkerConfig, log: LogFormat, quiet: bool) -> anyhow::Result<WorkerProgram> {
    let mut variables = variables();
    if quiet && env(LOG).is_none() {
        variables.push((LOG.into(), "error".into()));
    }
    Ok(WorkerProgram {
        program: ITSELF.into(),
        prepare: arguments("prepare", config, log)?,
        worker: arguments("worker", config, log)?,
        env: variables,
    })
}

/// This program as a worker of tools, and as what compiles components for it.
pub fn tool_program(config: &ToolWorkerConfig, log: LogFormat) -> anyhow::Result<ToolProgram> {
    Ok(ToolProgram {
        program: ITSELF.into(),
        worker: arguments("tool-worker", config, log)?,
        compile: arguments("compile", config, log)?,
        env: variables(),
    })
}
