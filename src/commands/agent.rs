//! `cofferdam agent`: container agents, one after the other or all of them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::tool::Json;

/// Look after container agents: list, start, stop, logs, roll back.
///
/// `cofferdam deploy` brings a version up. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), else to
/// the one on this machine.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Agent {
    #[command(subcommand)]
    pub command: Command,
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
pub enum Command {
    /// Make an agent; nothing runs before something is deployed
    Create(Create),
    /// List the agents
    List(Json),
    /// Show an agent: what serves, what was deployed, why something failed
    Show(One),
    /// Start the version that was stopped
    Start(One),
    /// Stop the version that runs
    Stop(One),
    /// Replace what runs by a fresh start of the same version
    Restart(One),
    /// Show what it wrote
    Logs(Logs),
    /// Go back to the version before, or to the one that is named
    Rollback(Rollback),
    /// Delete an agent, all its versions and its logs
    Delete(One),
}

#[derive(Args)]
pub struct Create {
    #[arg(value_name = "ID")]
    pub id: String,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where it runs [default: local]
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    #[command(flatten)]
    pub output: Json,
}

#[derive(Args)]
pub struct One {
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub output: Json,
}

#[derive(Args)]
pub struct Rollback {
    #[arg(value_name = "ID")]
    pub id: String,
    /// A number of `cofferdam agent show` [default: the version before]
    #[arg(value_name = "VERSION")]
    pub version: Option<u64>,
    #[command(flatten)]
    pub output: Json,
}

#[derive(Args)]
pub struct Logs {
    #[arg(value_name = "ID")]
    pub id: String,
    /// Go on with new lines as they are written
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last so many lines of what was written [default: 200]
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only from then on: a time (RFC 3339), or so long ago, such as 90s, 15m, 2h, 3d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only lines that this regular expression finds something in
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// Only of one version
    #[arg(long, value_name = "NUMBER")]
    pub version: Option<u64>,
    /// Before each line: its time, version and pod
    #[arg(long)]
    pub timestamps: bool,
    /// Each line as JSON
    #[arg(long)]
    pub json: bool,
}

pub fn main(agent: Agent) -> anyhow::Result<ExitCode> {
    crate::agent::main(agent.command)
}
