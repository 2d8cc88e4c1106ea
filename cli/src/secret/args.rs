//! The arguments of `cofferdam secret`.

use clap::{Args, Subcommand};

use crate::args::{Json, Name, STATUSES};

/// Store secrets: for tools and runs, which use them without seeing them, and for agents.
///
/// A tool or run that is granted a secret holds a placeholder. The gateway replaces it by the value in requests to the hosts
/// that the secret is bound to, and nowhere else. A container agent that is deployed with `--secret NAME` gets the value
/// itself as its variable NAME: no gateway stands between it and its hosts. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY, a key
/// with the scope admin), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Secret {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam secret set weather-key --host api.example.com   # prompts for it
  pass show weather | cofferdam secret set weather-key --host api.example.com
  cofferdam deploy my-agent.tar --agent support --secret DB_PASSWORD
  cofferdam secret list
  cofferdam secret delete weather-key";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Store a secret; its value is read from standard input or from a prompt
    Set(Set),
    /// List the secrets, without their values
    List(Json),
    /// Delete a secret
    Delete(Name),
}

#[derive(Args)]
pub(crate) struct Set {
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A host that the gateway may send the value to for tools and runs, such as api.example.com or *.example.com
    #[arg(long = "host", value_name = "HOST", required = true)]
    pub(crate) hosts: Vec<String>,
}
