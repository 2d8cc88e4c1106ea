//! The arguments of `cofferdam agent`.

use clap::{Args, Subcommand};

use super::definition_args::{Activate, Apply, Ask, Deactivate, Diff, Export, Versions};
use crate::args::{Json, Waits, Which, agent, count, version};

/// Define agents and ask them; manage those in containers.
///
/// A serverless agent is a definition: instructions, a model, tools. `apply` makes it, and `ask` gives it a task. An agent in a
/// container is deployed with `cofferdam deploy`; start, stop, restart, logs and rollback are for those. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), or to the
/// one on this machine.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Agent {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam agent apply -f analyst.yaml
  cofferdam agent ask analyst 'How many primes are below 10,000?'
  cofferdam agent diff analyst
  cofferdam agent activate analyst 3       # back to version 3

  cofferdam agent create support           # in a container
  cofferdam deploy my-agent.tar.gz --agent support --wait
  cofferdam agent list
  cofferdam agent logs support -f
  cofferdam agent logs support --since 2h --grep 'error|panic'
  cofferdam agent rollback support --wait
  cofferdam agent delete support

Exit status: 0 if it was done (with --wait: if it is up, or stopped; ask: if the
task completed), 1 if the server refused it, 2 for a wrong command line, 3 if it failed to come up, 4 if
--timeout ended the wait, 5 if the server could not be reached, 130 if a wait
was cancelled.";

#[derive(Subcommand)]
pub(crate) enum Command {
    Apply(Apply),
    Ask(Ask),
    Create(Create),
    /// List the agents of both types
    List(Json),
    /// Show an agent: its definition, or the serving version, all deployments, restarts and the cause of a failure
    Show(One),
    Versions(Versions),
    Diff(Diff),
    Activate(Activate),
    Deactivate(Deactivate),
    Export(Export),
    Start(Start),
    Stop(Stop),
    Restart(Restart),
    Logs(Logs),
    Rollback(Rollback),
    Delete(Delete),
}

/// Create an agent: a serverless one with instructions, a model or tools; else one for a container
///
/// Nothing runs of an agent for a container until an image is deployed. `apply` makes serverless agents with all of their settings.
#[derive(Args)]
pub(crate) struct Create {
    /// 1 to 64 of a-z, 0-9 and `-`, with a letter or digit first and last
    #[arg(value_name = "ID", value_parser = agent)]
    pub(crate) id: String,
    /// A display name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The environment to run its container in [default: local]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["instructions", "model", "tools", "draft"])]
    pub(crate) environment: Option<String>,
    /// The instructions of a serverless agent
    #[arg(long, value_name = "TEXT")]
    pub(crate) instructions: Option<String>,
    /// A model or alias, for a serverless agent [default: the alias default]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// A tool of a serverless agent: run_code, TOOL, TOOL-FUNCTION, mcp:CONNECTOR or agent:ID
    #[arg(long = "tool", value_name = "TOOL")]
    pub(crate) tools: Vec<String>,
    /// Keep it as a draft, which no task uses
    #[arg(long, requires = "instructions")]
    pub(crate) draft: bool,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct One {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// An action on an agent that may be waited for.
#[derive(Args)]
pub(crate) struct Act {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// Start an agent that was stopped, with the version that ran last.
///
/// It runs as a new version with the same image and settings and the current variables of the organization. An agent that
/// runs already, or is on its way up, is left as it is.
#[derive(Args)]
#[command(after_long_help = START_HELP)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) act: Act,
}

const START_HELP: &str = "\
Examples:
  cofferdam agent start support --wait
  cofferdam agent logs support -f          # its log as it comes up";

/// Stop an agent: what runs of it is ended, and it does not answer until it is started again.
///
/// Its container gets SIGTERM and has the cluster's grace period (30 seconds) to finish the requests that it is
/// answering; new ones find nobody. Images, versions and logs are kept, and `start` runs it again.
#[derive(Args)]
#[command(after_long_help = STOP_HELP)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) act: Act,
}

const STOP_HELP: &str = "\
Examples:
  cofferdam agent stop support --wait      # until nothing of it runs
  cofferdam agent start support";

/// Restart an agent, with the current variables and secrets.
///
/// A new version of the same image comes up beside the running one, which answers until the new one is ready and keeps
/// answering if it is not.
#[derive(Args)]
#[command(after_long_help = RESTART_HELP)]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) act: Act,
}

const RESTART_HELP: &str = "\
Examples:
  cofferdam variable set LOG_LEVEL=debug
  cofferdam agent restart support --wait";

/// Go back to the version that served before the running one, or to a given one.
///
/// Without VERSION it is the newest one without a crash that served before the running version or, if the agent is
/// stopped, before the one that served last: `start` is what runs that one again. Repeating the command goes back
/// further. The old image runs as a new version, with the settings and variables of its own deployment. The running
/// version answers until the new one is ready, and keeps answering if it is not.
#[derive(Args)]
#[command(after_long_help = ROLLBACK_HELP)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) which: Which,
    /// A number from `cofferdam agent show`, such as 3 or v3 [default: the version that served before]
    #[arg(value_name = "VERSION", value_parser = version)]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

const ROLLBACK_HELP: &str = "\
Examples:
  cofferdam agent show support             # its versions
  cofferdam agent rollback support --wait
  cofferdam agent rollback support 3";

/// Delete an agent, all its versions and its logs.
///
/// A serverless agent is gone at once, with what it remembers; tasks of it that are under way end. In containers, its containers are stopped, and the agent disappears from `agent list` once the cluster has removed all of it. If the
/// cluster is gone, or refuses the credentials, that does not happen: --force tries to remove it once, deletes the agent
/// whatever comes of it, and prints the `kubectl` command for what may be left in the cluster and may still run there.
#[derive(Args)]
#[command(after_long_help = DELETE_HELP)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Delete it even if its containers cannot be removed now: they may go on running
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: Json,
}

const DELETE_HELP: &str = "\
Examples:
  cofferdam agent delete support
  cofferdam agent delete support --force   # its cluster is gone";

/// Show an agent's log, also of versions that are gone.
///
/// Characters that a terminal would obey, other than colours, are written as `\u{1b}`; --json has each line as the server
/// keeps it.
#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Follow the log as it is written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines [default: 200]
    #[arg(long, value_name = "LINES", value_parser = count, allow_negative_numbers = true)]
    pub(crate) tail: Option<u32>,
    /// Only since a time (RFC 3339) or for a duration such as 90s, 15m, 2h, 3d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// Only this version's lines
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) version: Option<u64>,
    /// Show each line's time, version and pod
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Print each line as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
