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
    /// The image's name, if the archive has several
    #[arg(long = "image", value_name = "NAME")]
    pub(crate) archive_image: Option<String>,
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
    /// A label of its Job and pod, as far as the environment allows it
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// An annotation of its pod, as far as the environment allows it
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub(crate) annotations: Vec<String>,
    /// A taint of nodes that it may run on, as far as the environment allows it
    #[arg(long = "toleration", value_name = "KEY[=VALUE][:EFFECT]")]
    pub(crate) tolerations: Vec<String>,
    /// A priority class that the environment allows
    #[arg(long, value_name = "NAME")]
    pub(crate) priority_class: Option<String>,
    /// A PersistentVolumeClaim that the environment allows, mounted at a path
    #[arg(long = "volume", value_name = "CLAIM:/PATH[:ro]")]
    pub(crate) volumes: Vec<String>,
    /// An empty folder of at most this size that ends with the pod
    #[arg(long = "scratch", value_name = "SIZE:/PATH")]
    pub(crate) scratch: Vec<String>,
    /// The number of equal pods, as far as the environment allows more than one [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) replicas: Option<u32>,
    /// Settings from a file (YAML or JSON) with `env`, `secrets`, `resources`, `pod`, `health`; flags add to them
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
    /// Only print the Kubernetes objects that would be applied, without the values of variables
    #[arg(long, conflicts_with_all = ["wait", "create"])]
    pub(crate) dry_run: bool,
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
reached, 130 when cancelled, 143 when terminated.

Examples:
  docker save my-agent | gzip | cofferdam deploy - --agent support --wait
  cofferdam deploy my-agent.tar.gz --agent support --env MODE=live --wait
  cofferdam deploy r.example/team/my-agent:1.4 --agent support
  cofferdam deploy my-agent.tar.gz --agent support --spec agent.yaml --dry-run
  cofferdam agent logs support -f";
