//! `cofferdam deploy`: an image to an agent that runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::run::duration;

/// Deploy a container image as an agent.
///
/// PATH is what `docker save` writes (also gzipped or zstd), an OCI layout (a folder or a tar of it), or `-` for standard
/// input. An image that lies in a registry is named instead. The version before serves until the new one is ready, and goes
/// on where the new one does not come up. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), else to
/// the one on this machine.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// An image archive, an OCI layout, `-`, or REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "PATH|IMAGE")]
    pub image: String,
    /// The agent; see `cofferdam agent create`
    #[arg(long, value_name = "ID")]
    pub agent: String,
    /// Make the agent where there is none
    #[arg(long)]
    pub create: bool,
    /// With --create: the environment that it runs in [default: local]
    #[arg(long, value_name = "NAME", requires = "create")]
    pub environment: Option<String>,
    /// A variable of the agent's environment; kept encrypted, not shown again
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Variables from a file with a NAME=VALUE on each line
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// A secret of the organization's that becomes a variable of the same name
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// CPU as Kubernetes writes it, such as 500m
    #[arg(long, value_name = "QUANTITY")]
    pub cpu: Option<String>,
    /// Memory as Kubernetes writes it, such as 512Mi
    #[arg(long, value_name = "QUANTITY")]
    pub memory: Option<String>,
    /// Wait until it is up or has failed, and show its first lines
    #[arg(long)]
    pub wait: bool,
    /// With --wait: for how long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
    /// Print the deployment as JSON at the end
    #[arg(long)]
    pub json: bool,
}

const HELP: &str = "\
Exit status: 0 where it was deployed (with --wait: where it is up), 1 where the
image, the agent or the request was refused, 2 for a wrong command line, 3 where
it failed to come up, 4 where --wait ended before either, 5 where the server
could not be reached.

Examples:
  docker save my-agent | gzip | cofferdam deploy - --agent support --wait
  cofferdam deploy my-agent.tar.gz --agent support --env MODE=live --wait
  cofferdam deploy r.example/team/my-agent:1.4 --agent support
  cofferdam agent logs support -f";

pub fn main(args: &Args) -> ExitCode {
    crate::deploy::main(args)
}
