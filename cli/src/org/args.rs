//! The arguments of `cofferdam org`.

use clap::{Args, Subcommand};

use crate::args::{Json, STATUSES};

/// Make, bound, disable and delete organizations.
///
/// Organizations see nothing of each other: each has its own keys, agents, tools, secrets, tasks and logs. Only an operator's key manages
/// them: that of `cofferdam serve`, or one that `key create --operator` made with it. Talks to the server that COFFERDAM_URL names
/// (with COFFERDAM_API_KEY), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Org {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam org create acme --name 'Acme Ltd.'  # prints its first key
  cofferdam org list
  cofferdam org update acme --requests-per-minute 6000 --max-tasks 20
  cofferdam org update acme --disable           # its keys are refused
  cofferdam org key acme                        # when its last key is lost
  cofferdam org delete acme --force             # also with things that run";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an organization; the text of its first key is printed once
    Create(Create),
    /// List the organizations
    List(Json),
    /// Show an organization
    Show(Show),
    /// Change an organization's name or limits, disable or enable it
    Update(Update),
    /// Delete an organization; its keys end at once, and its id is not used again
    Delete(Delete),
    /// Make one more key with the scope admin for an organization
    Key(Show),
}

#[derive(Args)]
pub(crate) struct Limits {
    /// The most requests a minute of all its keys together
    #[arg(long, value_name = "NUMBER")]
    pub(crate) requests_per_minute: Option<u32>,
    /// The most runs of code and calls of tools at the same time
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_runs: Option<u32>,
    /// The most tasks of agents at work at the same time
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_tasks: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Create {
    /// Its id: a-z, 0-9 and `-` [default: a random one]
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The name that people read [default: its id]
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The organization's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) which: Show,
    /// Another name
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Take away a limit
    #[arg(long, value_name = "LIMIT", value_parser = ["requests-per-minute", "max-runs", "max-tasks"])]
    pub(crate) no: Vec<String>,
    /// Refuse its keys until it is enabled
    #[arg(long)]
    pub(crate) disable: bool,
    /// Accept its keys again
    #[arg(long, conflicts_with = "disable")]
    pub(crate) enable: bool,
}

#[derive(Args)]
pub(crate) struct Delete {
    /// The organization's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// End its agents, sessions and tasks, too
    #[arg(long)]
    pub(crate) force: bool,
}
