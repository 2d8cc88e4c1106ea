//! The arguments of `cofferdam variable`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::{Json, STATUSES};

/// Manage the environment variables that every agent of the organization gets.
///
/// Values are stored encrypted, as the texts that they are (`007` stays `007`), and are not shown again. Agents get them at
/// their next start. A deployment's own variables override them. Talks to the server that COFFERDAM_URL names (with
/// COFFERDAM_API_KEY, a key with the scope admin), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Variable {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam variable set REGION=eu LOG_LEVEL=info
  cofferdam variable set API_KEY                 # prompts for it
  pass show api | cofferdam variable set API_KEY
  cofferdam variable set --file agents.env
  cofferdam variable list
  cofferdam variable unset LOG_LEVEL
  cofferdam agent restart support                # gets them now";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the variables, without their values
    List(Json),
    /// Set variables: all of them or none
    Set(Set),
    /// Remove variables
    Unset(Unset),
}

#[derive(Args)]
pub(crate) struct Set {
    /// Variables with their values; or one NAME, whose value is read from standard input or from a prompt
    #[arg(value_name = "NAME=VALUE", required_unless_present = "file")]
    pub(crate) variables: Vec<String>,
    /// A file of variables, one NAME=VALUE per line; as in Docker's, quotes and `$` are kept
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Unset {
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}
