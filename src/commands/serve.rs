//! `cofferdam serve`: everything in one process tree, or the roles that are named.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cofferdam_controller::auth::KeySource;
use cofferdam_controller::config::{Config, Flags};
use cofferdam_controller::server::{self, Announce, Door, Programs, Started};
use cofferdam_runtime::tool_worker::ToolWorkerConfig;
use cofferdam_runtime::worker::WorkerConfig;

use crate::folders::{Folders, env};
use crate::telemetry::{self, LogFormat};
use crate::worker_program::{tool_program, worker_program};

/// Serve the HTTP API, with a sandbox worker of its own.
///
/// Settings come from flags, then the environment, then the file of --config.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// Where to listen [default: 127.0.0.1:8080] [env: COFFERDAM_LISTEN]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where the database, the key, the cache and suspended sessions are
    /// [default: $XDG_DATA_HOME/cofferdam] [env: COFFERDAM_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Parts to run: `controller` or `api` (with COFFERDAM_WORKERS), `code-runner`, `aws-operator` (images from S3 to
    /// ECR, with DATABASE_URL); all without it
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    roles: Vec<String>,
    /// A TOML file with further settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    folders: Folders,
    /// [default: text on a terminal, json elsewhere]
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

/// Lines of at most 79 characters: what is laid out in columns would not survive being wrapped.
const HELP: &str = "\
Environment:
  COFFERDAM_API_KEY      the key to accept; without it one is made and kept in
                         the data folder
  DATABASE_URL           postgres://... instead of SQLite in the data folder
  COFFERDAM_WORKERS      http://HOST:PORT,... of code-runners
  COFFERDAM_WORKER_TOKEN what controllers send and code-runners want
  COFFERDAM_MAX_*        what a run may ask at most: WALL_MS, CPU_MS,
                         MEMORY_BYTES, OUTPUT_BYTES, DISK_BYTES, FILES
  COFFERDAM_DEFAULT_*    what a run gets by itself, of the same
  COFFERDAM_MAX_SESSIONS, COFFERDAM_MAX_SESSIONS_PER_KEY
  COFFERDAM_SESSION_MAX_LIFE_S, COFFERDAM_IDLE_SUSPEND_S
  COFFERDAM_POLICY       a YAML file: what tools and runs may have at most
  COFFERDAM_REGISTRIES   HOST,... that tools may be pulled from and pushed to
  COFFERDAM_DRAIN_S      how long a shutdown waits for what is under way
  COFFERDAM_LOG          how much to log: error, warn, info, debug
  OTEL_EXPORTER_OTLP_ENDPOINT
                         http://HOST:4318 of an OpenTelemetry collector

/health, /ready and /openapi.json need no key, nor does /metrics from this machine.

Examples:
  cofferdam serve
  cofferdam serve --listen 0.0.0.0:8080 --data-dir /var/lib/cofferdam
  export COFFERDAM_WORKER_TOKEN=...                          # on both machines
  cofferdam serve --role code-runner --listen 10.0.0.7:9090  # on the one
  export COFFERDAM_WORKERS=http://10.0.0.7:9090              # on the other
  cofferdam serve --role controller";

fn worker_config(config: &Config, folders: &Folders) -> anyhow::Result<WorkerConfig> {
    let table = serde_json::to_value(&config.workers.local).context("[worker]")?;
    let mut worker: WorkerConfig = serde_json::from_value(table).context("the [worker] table is refused")?;
    worker.kernels_dir = folders.kernels()?;
    worker.cache_dir = folders.cache(&config.data_dir)?;
    worker.state_dir = std::path::absolute(config.data_dir.join("worker"))?;
    worker.idle_suspend_s = config.sessions.idle_suspend_s;
    worker.max_sessions = usize::try_from(config.sessions.max).unwrap_or(usize::MAX);
    worker.drain_s = worker.drain_s.min(config.drain.as_secs());
    Ok(worker)
}

fn tool_config(config: &Config, folders: &Folders) -> anyhow::Result<ToolWorkerConfig> {
    let table = serde_json::to_value(&config.workers.tools).context("[tool_worker]")?;
    let mut worker: ToolWorkerConfig = serde_json::from_value(table).context("the [tool_worker] table is refused")?;
    worker.cache_dir = folders.cache(&config.data_dir)?;
    worker.drain_s = worker.drain_s.min(config.drain.as_secs());
    Ok(worker)
}

pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    // What serve writes is for its owner only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let format = args.log_format.unwrap_or_else(LogFormat::fitting);
    let _telemetry = telemetry::start(format, "info")?;
    let file = match &args.config {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let flags = Flags { listen: args.listen, data_dir: args.data_dir, roles: args.roles };
    let config = Config::parse(&flags, &env, file.as_deref())?;
    let programs = match config.roles.local_worker() {
        true => Some(Programs {
            worker: worker_program(&worker_config(&config, &args.folders)?, format, false)?,
            tools: tool_program(&tool_config(&config, &args.folders)?, format)?,
        }),
        false => None,
    };
    let announce = Announce {
        started: Box::new(greet),
        progress: Box::new(|line| eprintln!("{line}")),
        ready: Box::new(|| eprintln!("ready")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(server::serve(config, programs, announce));
    served.map_err(|error| anyhow::anyhow!(error.chain()))?;
    Ok(ExitCode::SUCCESS)
}

fn greet(started: &Started) {
    let url = format!("http://{}", started.address);
    let (place, key) = match &started.door {
        Door::CodeRunner => {
            println!("Cofferdam's code-runner listens on {url} for controllers that know COFFERDAM_WORKER_TOKEN.");
            return;
        }
        Door::AwsOperator => {
            println!("Cofferdam's aws-operator brings images from S3 to ECR; {url} has /health, /ready and /metrics.");
            return;
        }
        Door::Api(KeySource::Environment) => ("COFFERDAM_API_KEY".to_owned(), "$COFFERDAM_API_KEY".to_owned()),
        Door::Api(KeySource::File(path)) => (path.display().to_string(), format!("$(cat '{}')", path.display())),
    };
    println!(
        "Cofferdam listens on {url}
The API key is in {place}. Things to try:

  curl -s {url}/v1/runs -H \"x-api-key: {key}\" -H 'content-type: application/json' \\
    -d '{{\"language\": \"python\", \"code\": \"import pandas as pd\\npd.DataFrame({{\\\"n\\\": [1, 2, 3]}}).describe()\"}}'

  curl -sN {url}/v1/runs -H \"x-api-key: {key}\" -H 'content-type: application/json' -H 'accept: text/event-stream' \\
    -d '{{\"language\": \"javascript\", \"code\": \"for (const n of [1, 2, 3]) console.log(n ** 2)\"}}'

  curl -s {url}/v1/sessions -H \"x-api-key: {key}\" -H 'content-type: application/json' -d '{{\"language\": \"python\"}}'
"
    );
}
