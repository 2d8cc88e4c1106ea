//! `cofferdam secret`: values that tools and runs use without ever seeing them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Keep secrets that tools and runs use without seeing them.
///
/// A tool that is granted a secret holds a placeholder; the value takes its place on the way out, to the hosts that the
/// secret is bound to, and nowhere else. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY, a key
/// with the scope admin), else to the one on this machine.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Secret {
    #[command(subcommand)]
    pub command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam secret set weather-key --host api.example.com   # asks for it
  pass show weather | cofferdam secret set weather-key --host api.example.com
  cofferdam secret list
  cofferdam secret delete weather-key";

#[derive(Subcommand)]
pub enum Command {
    /// Store a secret; its value is read from standard input, or asked for
    Set(Set),
    /// List the secrets, without their values
    List(super::tool::Json),
    /// Delete a secret
    Delete(super::tool::Name),
}

#[derive(Args)]
pub struct Set {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A host that the value may be sent to, such as api.example.com or *.example.com
    #[arg(long = "host", value_name = "HOST", required = true)]
    pub hosts: Vec<String>,
}

pub fn main(secret: Secret) -> anyhow::Result<ExitCode> {
    crate::secret::main(secret.command)
}
