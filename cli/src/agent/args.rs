//! The arguments of `cofferdam agent`.

use clap::{Args, Subcommand};

use crate::args::Json;

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
  cofferdam agent rollback support";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create an agent; nothing runs until an image is deployed
    Create(Create),
    /// List the agents
    List(Json),
    /// Show an agent: the serving version, all deployments, the cause of a failure
    Show(One),
    /// Start the stopped version
    Start(One),
    /// Stop the running version
    Stop(One),
    /// Restart the running version
    Restart(One),
    /// Show its log
    Logs(Logs),
    /// Go back to the previous version, or to a given one
    Rollback(Rollback),
    /// Delete an agent, all its versions and its logs
    Delete(One),
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

#[derive(Args)]
pub(crate) struct Rollback {
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// A number from `cofferdam agent show` [default: the previous version]
    #[arg(value_name = "VERSION")]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Json,
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
