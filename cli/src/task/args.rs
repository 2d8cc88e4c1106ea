//! The arguments of `cofferdam task`.

use clap::{Args, Subcommand, ValueEnum};

use crate::args::{Json, agent, count};

/// Look at agents' tasks, follow and steer them, and answer what they ask.
///
/// Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY, a key with the scope invoke), or to the one on this
/// machine.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Task {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam task list --status paused
  cofferdam task follow task_0123
  cofferdam task approvals                 # all calls that wait for a person
  cofferdam task approve task_0123         # the only call that waits
  cofferdam task decline task_0123 1-2 --note 'not in production'
  cofferdam task list --status error       # dead letters
  cofferdam task replay task_0123

Exit status: 0 if it was done (follow: if the task completed), 1 if the server
refused it or the task failed or was stopped, 2 for a wrong command line, 3 if
the followed task waits for a person, 5 if the server could not be reached, 130
if Ctrl-C ended the following: the task goes on.";

#[derive(Subcommand)]
pub(crate) enum Command {
    List(List),
    /// Show a task: its state, result, costs, and what it waits for
    Show(One),
    Follow(Follow),
    /// Stop a task, and the tasks of its sub-agents
    Stop(One),
    /// Pause a task at its next step
    Pause(One),
    /// Let a paused task go on
    Resume(One),
    /// Run a dead letter again: calls whose results are known are not made again
    Replay(One),
    /// List the tool calls that wait for a person
    Approvals(Json),
    Approve(Approve),
    Decline(Decline),
    Decide(Decide),
}

/// List tasks, the newest first
#[derive(Args)]
pub(crate) struct List {
    /// Only tasks of this agent
    #[arg(long, value_name = "ID", value_parser = agent)]
    pub(crate) agent: Option<String>,
    /// Only tasks in this state
    #[arg(long, value_enum)]
    pub(crate) status: Option<Status>,
    /// Only tasks of this thread
    #[arg(long, value_name = "THREAD")]
    pub(crate) thread: Option<String>,
    /// The most tasks to list
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = count)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    Pending,
    Executing,
    Paused,
    Error,
    Failed,
    Completed,
    Stopped,
}

#[derive(Args)]
pub(crate) struct Id {
    /// The task's id, from `cofferdam task list`
    #[arg(value_name = "TASK")]
    pub(crate) id: String,
}

#[derive(Args)]
pub(crate) struct One {
    #[command(flatten)]
    pub(crate) which: Id,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Follow a task from its beginning, also one that has ended
///
/// The answer is written to standard output, what the agent does to standard error. On a terminal it asks for approvals.
#[derive(Args)]
pub(crate) struct Follow {
    #[command(flatten)]
    pub(crate) which: Id,
    /// Begin after this event of its thread
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub(crate) after: u64,
    /// Print each event as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A call that waits for a person.
#[derive(Args)]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) which: Id,
    /// The call, from `cofferdam task approvals` [default: the only one that waits]
    #[arg(value_name = "CALL")]
    pub(crate) call: Option<String>,
}

/// Approve a tool call, with exactly the arguments that are shown, or with others
#[derive(Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub(crate) call: Call,
    /// Make it with these arguments instead
    #[arg(long, value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Decline a tool call; the agent is told, and goes on
#[derive(Args)]
pub(crate) struct Decline {
    #[command(flatten)]
    pub(crate) call: Call,
    /// Why, for the agent
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outcome {
    /// Make it again
    Retry,
    /// Tell the agent that it may or may not have happened
    Skip,
    /// It gave --value
    Result,
}

/// Decide about a call whose outcome is unknown: its worker died after it was sent
#[derive(Args)]
pub(crate) struct Decide {
    #[command(flatten)]
    pub(crate) which: Id,
    /// The call, from `cofferdam task approvals`
    #[arg(value_name = "CALL")]
    pub(crate) call: String,
    #[arg(value_enum)]
    pub(crate) outcome: Outcome,
    /// The call's result, as JSON or text
    #[arg(long, value_name = "JSON", required_if_eq("outcome", "result"))]
    pub(crate) value: Option<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}
