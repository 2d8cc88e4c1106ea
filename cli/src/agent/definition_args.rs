//! The arguments of the commands of `cofferdam agent` about definitions.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::args::{Json, Which, version};

/// Create or change serverless agents from files: YAML, also of several documents, or JSON
///
/// The definition in the file becomes the active version; the same definition again changes nothing. With `status: DRAFT` in it,
/// it is kept as a draft. All documents are checked before the first one is carried out.
#[derive(Args)]
#[command(after_long_help = APPLY_HELP)]
pub(crate) struct Apply {
    /// A file, or - for standard input
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Json,
}

const APPLY_HELP: &str = "\
Examples:
  cofferdam agent apply -f analyst.yaml
  cofferdam agent export analyst | cofferdam agent apply -f -

A file:
  id: analyst
  name: Analyst
  instructions: You answer questions about data. Compute with run_code.
  model: fast
  tools: [run_code]
  limits: {steps: 20, cost_usd: '0.50'}

docs/agents.md describes all fields.";

/// List an agent's versions, newest first
#[derive(Args)]
pub(crate) struct Versions {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Compare two versions of an agent, field by field
#[derive(Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) which: Which,
    /// [default: the active version]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) from: Option<u64>,
    /// [default: the draft, else the active version]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Make a version of a serverless agent the active one: a rollback, or the end of a draft
#[derive(Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    pub(crate) which: Which,
    /// A number from `cofferdam agent versions` [default: the one that was active, else the draft]
    #[arg(value_name = "VERSION", value_parser = version)]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Switch a serverless agent off: it takes no new tasks, and those under way end
#[derive(Args)]
pub(crate) struct Deactivate {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Yaml,
    Json,
}

/// Write an agent's definition as one file, which `agent apply` takes
#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) which: Which,
    /// [default: the active version, else the draft]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) version: Option<u64>,
    #[arg(long, value_enum, default_value = "yaml")]
    pub(crate) format: Format,
}

/// Ask an agent, and watch it work
///
/// The answer is written to standard output, and what the agent does to standard error. On a terminal it asks for approvals.
/// Ctrl-C asks whether to leave, which lets the task go on, or to stop it. If the connection breaks, it goes on where it was.
#[derive(Args)]
#[command(after_long_help = ASK_HELP)]
pub(crate) struct Ask {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The question; - reads it from standard input
    #[arg(value_name = "TEXT", required = true)]
    pub(crate) text: Vec<String>,
    /// Go on with this thread
    #[arg(long, value_name = "THREAD")]
    pub(crate) thread: Option<String>,
    /// Use this version instead of the active one; drafts can be tried so
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) version: Option<u64>,
    /// Print each event as a line of JSON; with --no-stream, the task
    #[arg(long)]
    pub(crate) json: bool,
    /// Wait for the end, and print only the answer
    #[arg(long)]
    pub(crate) no_stream: bool,
}

const ASK_HELP: &str = "\
Examples:
  cofferdam agent ask analyst 'How many primes are below 10,000?'
  cofferdam agent ask analyst --thread thread_0123 'And below 100,000?'
  git diff | cofferdam agent ask reviewer -

Exit status: 0 if the task completed, 1 if it failed or was stopped, or the server
refused it, 3 if it waits for a person, 5 if the server could not be reached, 130
if Ctrl-C ended the command and the task goes on.";
