//! The arguments of `cofferdam deploy`.

use std::path::PathBuf;
use std::time::Duration;

use crate::args::duration;

/// Deploy a container image as an agent.
///
/// PATH is an archive from `docker save` (also gzipped or zstd), an OCI layout (a folder or a tar of it), or `-` for standard
/// input. IMAGE names an image in a registry. The previous version serves until the new one is ready, and keeps serving if
/// the new one does not come up. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), or to the one on
/// this machine.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// An image archive, an OCI layout, `-`, or REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "PATH|IMAGE")]
    pub(crate) image: String,
    /// The agent; see `cofferdam agent create`
    #[arg(long, value_name = "ID")]
    pub(crate) agent: String,
    /// Create the agent if it does not exist
    #[arg(long)]
    pub(crate) create: bool,
    /// With --create: the environment to run it in [default: local]
    #[arg(long, value_name = "NAME", requires = "create")]
    pub(crate) environment: Option<String>,
    /// An environment variable of the agent; stored encrypted, never shown again
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// A file of environment variables, one NAME=VALUE per line; as in Docker's, quotes and `$` are kept
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// A secret of the organization, passed as an environment variable of the same name
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
    /// CPU as a Kubernetes quantity, such as 500m
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) cpu: Option<String>,
    /// Memory as a Kubernetes quantity, such as 512Mi
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) memory: Option<String>,
    /// Wait until it is up or has failed, and show its first lines
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: the longest time to wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Print the deployment as JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

const HELP: &str = "\
Exit status: 0 if it was deployed (with --wait: if it is up), 1 if the image,
the agent or the request was refused, 2 for a wrong command line, 3 if it
failed to come up, 4 if --timeout ended the wait, 5 if the server could not be
reached.

Examples:
  docker save my-agent | gzip | cofferdam deploy - --agent support --wait
  cofferdam deploy my-agent.tar.gz --agent support --env MODE=live --wait
  cofferdam deploy r.example/team/my-agent:1.4 --agent support
  cofferdam agent logs support -f";
