//! The arguments of `cofferdam thread`.

use clap::{Args, Subcommand};

use crate::args::{Json, STATUSES, agent, count};

/// Look at threads, which are what was said between agents and their users; fork and delete them.
///
/// Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Thread {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam thread list --agent analyst
  cofferdam thread show thread_0123
  cofferdam thread search invoice 4711
  cofferdam thread fork thread_0123 --at 4
  cofferdam agent ask analyst --thread thread_0123 'And by month?'";

#[derive(Subcommand)]
pub(crate) enum Command {
    List(List),
    Show(Show),
    Search(Search),
    Fork(Fork),
    Delete(Delete),
}

/// List threads, the newest first
#[derive(Args)]
pub(crate) struct List {
    /// Only threads of this agent
    #[arg(long, value_name = "ID", value_parser = agent)]
    pub(crate) agent: Option<String>,
    /// Only threads of this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// The most threads to list
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = count)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Show a thread's messages
#[derive(Args)]
pub(crate) struct Show {
    /// The thread's id, from `cofferdam thread list`
    #[arg(value_name = "THREAD")]
    pub(crate) id: String,
    /// Only the last messages
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = count)]
    pub(crate) last: u32,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Copy a thread's messages into a new thread, to go on from there in another way
///
/// The new thread gets a copy of the sandbox session, too, when it first runs code.
#[derive(Args)]
pub(crate) struct Fork {
    /// The thread's id, from `cofferdam thread list`
    #[arg(value_name = "THREAD")]
    pub(crate) id: String,
    /// The last message that the new thread has; its number from `thread show` [default: all]
    #[arg(long, value_name = "MESSAGE", value_parser = message)]
    pub(crate) at: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Delete a thread with its tasks, messages and events; its tasks must have ended
#[derive(Args)]
pub(crate) struct Delete {
    /// The thread's id, from `cofferdam thread list`
    #[arg(value_name = "THREAD")]
    pub(crate) id: String,
}

/// The number of a message.
fn message(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('#').unwrap_or(text).parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a message's number from `cofferdam thread show`, such as 4".to_owned())
}

/// Search messages by their words, the newest first
#[derive(Args)]
pub(crate) struct Search {
    /// Words; a message has to have all of them
    #[arg(value_name = "WORD", required = true)]
    pub(crate) words: Vec<String>,
    /// Only messages of this agent
    #[arg(long, value_name = "ID", value_parser = agent)]
    pub(crate) agent: Option<String>,
    /// Only messages of this thread
    #[arg(long, value_name = "THREAD")]
    pub(crate) thread: Option<String>,
    /// The most messages to find
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = count)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: Json,
}
