//! `cofferdam serve`: all roles in one process tree, or those that `--role` names.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cofferdam_cli::Folders;
use cofferdam_controller::config::{self, Config, Flags};
use cofferdam_controller::server::{self, Announce, Door, Programs, Started};
use cofferdam_core::{ConfigError, chain};
use cofferdam_identity::KeySource;
use cofferdam_runtime::tool_worker::ToolWorkerConfig;
use cofferdam_runtime::worker::WorkerConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::telemetry::{self, LogFormat, env, tell};
use crate::workers::{check_kernels, tool_program, worker_program};

/// Serve the HTTP API, with workers of its own for snippets and tools.
///
/// Without --role everything runs in one process tree. On SIGTERM and Ctrl-C it takes no new requests, lets those that
/// run finish for COFFERDAM_DRAIN_S, and ends; container agents go on running in their cluster. Settings come from flags,
/// then the environment, then the file of --config.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// The address to listen on [default: 127.0.0.1:8080] [env: COFFERDAM_LISTEN]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// The folder of the database, the key, the cache and suspended sessions
    /// [default: $XDG_DATA_HOME/cofferdam] [env: COFFERDAM_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Roles to run: `controller` or `api` (with COFFERDAM_WORKERS), `code-runner`, `aws-operator` (images from S3 to
    /// ECR, with DATABASE_URL), `ai-gateway` (models only, with DATABASE_URL), `agent-worker`
    /// (runs agents' tasks, with DATABASE_URL) [default: every role, in one process tree]
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

/// Lines have at most 79 characters: wrapping would break the columns.
const HELP: &str = "\
Environment (docs/operations.md and docs/agents.md have the whole list):
  COFFERDAM_API_KEY      the key to accept; if not set, one is made and kept in
                         the data folder
  COFFERDAM_ENCRYPTION_KEY
                         encrypts stored secrets: 32 bytes in hex or base64; if
                         not set, one is made and kept in the data folder
  DATABASE_URL           postgres://... instead of SQLite in the data folder
  COFFERDAM_OBJECT_STORE file:///FOLDER, s3://BUCKET/PREFIX, gs:// or az:// for
                         agents' logs
  COFFERDAM_PUBLIC_URL   the start of links that clients get, behind a proxy
  COFFERDAM_CA_FILE      certificates (PEM) that the gateway trusts besides the
                         system's
  COFFERDAM_LOG          the log level: error, warn, info, debug
  OTEL_EXPORTER_OTLP_ENDPOINT
                         http://HOST:4318 of an OpenTelemetry collector
 Workers and limits:
  COFFERDAM_WORKERS      http://HOST:PORT,... of code-runners
  COFFERDAM_WORKER_TOKEN the token between controllers and code-runners
  COFFERDAM_MAX_*        the limits that a run can ask for: WALL_MS, CPU_MS,
                         MEMORY_BYTES, OUTPUT_BYTES, DISK_BYTES, FILES
  COFFERDAM_DEFAULT_*    the limits of a run that asks for none, same names
  COFFERDAM_MAX_SESSIONS, COFFERDAM_MAX_SESSIONS_PER_KEY
  COFFERDAM_SESSION_MAX_LIFE_S, COFFERDAM_IDLE_SUSPEND_S
  COFFERDAM_DRAIN_S      how long a shutdown waits for running requests
 Tools:
  COFFERDAM_POLICY       a YAML file: grants that tools and runs can get
  COFFERDAM_REGISTRIES   [http://]HOST,... of registries for tools, and for
                         images that agents are deployed from
 Models (docs/models.md; more in [models] of the file, and in /v1/upstreams):
  OPENAI_BASE_URL, OPENAI_API_KEY
                         an upstream of OpenAI's protocol, and its key
  ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN
                         an upstream of Anthropic's, and its key or token
  HTTPS_PROXY, NO_PROXY  the proxy on the operator's way to them
  COFFERDAM_USAGE_DAYS   how long records of calls are kept
 Container agents:
  COFFERDAM_IMAGES       [http://]HOST[:PORT][/PREFIX] to push images to
  COFFERDAM_IMAGES_PULL  the same place under the name that the nodes use
  KUBECONFIG, COFFERDAM_KUBE_CONTEXT
                         the cluster; by default the one that this runs in
  COFFERDAM_NAMESPACE    the namespace of the agents
  COFFERDAM_ARCHITECTURE amd64 or arm64: the nodes that agents run on
  COFFERDAM_AGENT_START_S
                         seconds for a version to become ready
  COFFERDAM_AGENT_EGRESS address ranges that agents may reach
  COFFERDAM_MAX_AGENTS, COFFERDAM_MAX_DEPLOYMENTS
  COFFERDAM_MAX_IMAGE_BYTES, COFFERDAM_MAX_UPLOADS

/health, /ready and /openapi.json need no key, nor does /metrics from this machine.

Examples:
  cofferdam serve
  cofferdam serve --listen 0.0.0.0:8080 --data-dir /var/lib/cofferdam
  export COFFERDAM_WORKER_TOKEN=...                          # on both machines
  cofferdam serve --role code-runner --listen 10.0.0.7:9090  # on the first
  export COFFERDAM_WORKERS=http://10.0.0.7:9090              # on the second
  cofferdam serve --role controller";

/// The most upstreams that the banner names.
const MAX_SHOWN_UPSTREAMS: usize = 8;
/// The keys of `[worker]` and `[tool_worker]` that follow from other settings, with those.
const SET_ELSEWHERE: [(&str, &str); 5] = [
    ("kernels_dir", "--kernels"),
    ("cache_dir", "--cache-dir"),
    ("state_dir", "--data-dir"),
    ("max_sessions", "`max` of [sessions]"),
    ("idle_suspend_s", "`idle_suspend_s` of [sessions]"),
];
/// The keys of both that may be zero: nothing waits, is kept or gets time to end.
const MAY_BE_ZERO: [&str; 3] = ["max_waiting", "run_files_s", "drain_s"];

/// A worker's settings from its table in the configuration file.
fn local<T: DeserializeOwned>(name: &str, table: &impl Serialize) -> anyhow::Result<T> {
    let table = serde_json::to_value(table).with_context(|| format!("[{name}]"))?;
    for (key, value) in table.as_object().into_iter().flatten() {
        if let Some((_, instead)) = SET_ELSEWHERE.iter().find(|(elsewhere, _)| elsewhere == key) {
            bail!("the configuration file: `{key}` of [{name}] has no effect; set {instead}");
        }
        if value.as_i64() == Some(0) && !MAY_BE_ZERO.contains(&key.as_str()) {
            bail!("the configuration file: `{key}` of [{name}] must be at least 1");
        }
    }
    serde_json::from_value(table).with_context(|| format!("the configuration file: the table [{name}] is invalid"))
}

fn worker_config(config: &Config, folders: &Folders) -> anyhow::Result<WorkerConfig> {
    let mut worker: WorkerConfig = local("worker", &config.workers.local)?;
    worker.kernels_dir = folders.kernels()?;
    check_kernels(&worker.kernels_dir)?;
    worker.cache_dir = folders.cache(&config.data_dir)?;
    worker.state_dir = std::path::absolute(config.data_dir.join("worker"))?;
    worker.idle_suspend_s = config.sessions.idle_suspend_s;
    worker.max_sessions = usize::try_from(config.sessions.max).unwrap_or(usize::MAX);
    worker.drain_s = worker.drain_s.min(config.drain.as_secs());
    Ok(worker)
}

fn tool_config(config: &Config, folders: &Folders) -> anyhow::Result<ToolWorkerConfig> {
    let mut worker: ToolWorkerConfig = local("tool_worker", &config.workers.tools)?;
    worker.cache_dir = folders.cache(&config.data_dir)?;
    worker.drain_s = worker.drain_s.min(config.drain.as_secs());
    Ok(worker)
}

/// The data folder if nothing names one.
pub(crate) fn default_data_dir() -> anyhow::Result<PathBuf> {
    Ok(config::default_data_dir(&env)?)
}

pub(crate) fn main(args: Args) -> anyhow::Result<ExitCode> {
    // All files of the server are for its owner only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let format = args.log_format.unwrap_or_else(LogFormat::fitting);
    let _telemetry = telemetry::start(format, "info")?;
    let file = match &args.config {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let flags = Flags { listen: args.listen, data_dir: args.data_dir, roles: args.roles };
    let config = match (Config::parse(&flags, &env, file.as_deref()), &args.config) {
        (Err(ConfigError::File(why)), Some(path)) => bail!("the configuration file {}: {why}", path.display()),
        (config, _) => config?,
    };
    let programs = match config.roles.local_worker() {
        true => Some(Programs {
            worker: worker_program(&worker_config(&config, &args.folders)?, format)?,
            tools: tool_program(&tool_config(&config, &args.folders)?, format)?,
        }),
        false => None,
    };
    let announce = Announce {
        started: Box::new(greet),
        progress: Box::new(move |line| say(format, line)),
        ready: Box::new(move || say(format, "ready")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(server::serve(config, programs, announce));
    served.map_err(|error| anyhow::anyhow!(chain(&error)))?;
    Ok(ExitCode::SUCCESS)
}

/// Tells a step of the start: a line for people, an entry of the log for machines.
fn say(format: LogFormat, line: &str) {
    match format {
        LogFormat::Text => tell(line),
        LogFormat::Json => tracing::info!("{line}"),
    }
}

fn greet(started: &Started) {
    let url = format!("http://{}", started.address);
    let (place, key) = match &started.door {
        Door::CodeRunner => {
            return print(&format!(
                "Cofferdam's code-runner listens on {url} for controllers that know COFFERDAM_WORKER_TOKEN."
            ));
        }
        Door::AwsOperator => {
            return print(&format!(
                "Cofferdam's aws-operator copies images from S3 to ECR; {url} has /health, /ready and /metrics."
            ));
        }
        Door::AiGateway => {
            return print(&format!(
                "Cofferdam's ai-gateway serves models at {url}/v1, for keys of its controllers; {url} has /health, /ready and \
                 /metrics.\n{}",
                models(started.upstreams.as_deref())
            ));
        }
        Door::AgentWorker => {
            return print(&format!(
                "Cofferdam's agent-worker runs agents' tasks of its controllers; {url} has /health, /ready and /metrics."
            ));
        }
        Door::Api(KeySource::Environment) => ("COFFERDAM_API_KEY".to_owned(), "$COFFERDAM_API_KEY".to_owned()),
        Door::Api(KeySource::File(path)) => (path.display().to_string(), format!("$(cat '{}')", path.display())),
    };
    print(&format!(
        "Cofferdam listens on {url}
The API key is in {place}. Things to try:

  curl -s {url}/v1/runs -H \"x-api-key: {key}\" -H 'content-type: application/json' \\
    -d '{{\"language\": \"python\", \"code\": \"import pandas as pd\\npd.DataFrame({{\\\"n\\\": [1, 2, 3]}}).describe()\"}}'

  curl -sN {url}/v1/runs -H \"x-api-key: {key}\" -H 'content-type: application/json' -H 'accept: text/event-stream' \\
    -d '{{\"language\": \"javascript\", \"code\": \"for (const n of [1, 2, 3]) console.log(n ** 2)\"}}'

  curl -s {url}/v1/sessions -H \"x-api-key: {key}\" -H 'content-type: application/json' -d '{{\"language\": \"python\"}}'

{}
",
        models(started.upstreams.as_deref())
    ));
}

/// The line about the upstreams of models.
fn models(upstreams: Option<&[String]>) -> String {
    match upstreams {
        None => "Models: the settings could not be read; the log says why.".to_owned(),
        Some([]) => {
            "Models: none yet. Start with OPENAI_API_KEY or ANTHROPIC_API_KEY set, or see `cofferdam model --help`."
                .to_owned()
        }
        Some(names) => {
            let shown = names.iter().take(MAX_SHOWN_UPSTREAMS).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = names.len().saturating_sub(MAX_SHOWN_UPSTREAMS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("Models: upstreams {shown}{more}; `cofferdam model list` names what they serve.")
        }
    }
}

/// A server continues if its standard output is closed.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::models;

    #[test]
    fn the_banner_says_where_models_come_from() {
        let names: Vec<String> = (0..10).map(|number| format!("u{number}")).collect();
        for (upstreams, part) in [
            (None, "the log says why"),
            (Some(&names[..0]), "OPENAI_API_KEY"),
            (Some(&names[..2]), "upstreams u0, u1; "),
            (Some(&names[..]), "u7 and 2 more; "),
        ] {
            let said = models(upstreams);
            assert!(said.starts_with("Models: ") && said.contains(part) && !said.contains('\n'), "{said}");
        }
    }
}
