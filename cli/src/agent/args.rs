//! The arguments of `cofferdam agent`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::{Json, duration};

/// Manage container agents: list, start, stop, logs, roll back.
///
/// `cofferdam deploy` deploys a version. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), or to the
/// one on this machine.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Agent {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam agent create support
  cofferdam deploy my-agent.tar.gz --agent support --wait
  cofferdam agent list
  cofferdam agent logs support -f
  cofferdam agent logs support --since 2h --grep 'error|panic'
  cofferdam agent rollback support --wait
  cofferdam agent delete support

Exit status of start, stop, restart and rollback: 0 if it was done (with --wait:
if it is up, or stopped), 1 if it was refused, 2 for a wrong command line, 3 if
it failed to come up, 4 if --timeout ended the wait, 5 if the server could not
be reached.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create an agent; nothing runs until an image is deployed
    Create(Create),
    /// List the agents
    List(Json),
    /// Show an agent: the serving version, all deployments, restarts and the cause of a failure
    Show(One),
    /// Start the stopped version
    Start(Act),
    /// Stop the running version
    Stop(Act),
    /// Restart the running version, with the current variables and secrets
    Restart(Act),
    /// Show its log
    Logs(Logs),
    /// Go back to the previous version, or to a given one
    Rollback(Rollback),
    Delete(Delete),
}

#[derive(Args)]
pub(crate) struct Create {
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// A display name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The environment to run it in [default: local]
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Option<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct One {
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// The wait for what was asked for.
#[derive(Args)]
pub(crate) struct Waits {
    /// Wait until it is up or has failed; for `stop`, until nothing of it runs
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: the longest time to wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Act {
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

/// Delete an agent, all its versions and its logs.
///
/// It disappears once nothing of it runs. With --force it disappears after one attempt to remove its Jobs, also where the
/// cluster is gone or refuses our credentials; what may stay in the cluster is printed.
#[derive(Args)]
pub(crate) struct Delete {
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Leave behind what the cluster does not let go of
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Rollback {
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// A number from `cofferdam agent show` [default: the previous version]
    #[arg(value_name = "VERSION")]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) waits: Waits,
}

#[derive(Args)]
pub(crate) struct Logs {
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Follow the log as it is written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines [default: 200]
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Only since a time (RFC 3339) or for a duration such as 90s, 15m, 2h, 3d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// Only this version's lines
    #[arg(long, value_name = "NUMBER")]
    pub(crate) version: Option<u64>,
    /// Show each line's time, version and pod
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Print each line as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
