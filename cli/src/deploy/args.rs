//! The arguments of `cofferdam deploy`.

use std::path::PathBuf;

use super::health::HealthArgs;
use crate::args::{Amounts, Variables, Waits, agent, count, version};

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
    #[arg(value_name = "PATH|IMAGE", required_unless_present = "version")]
    pub(crate) image: Option<String>,
    /// In place of PATH|IMAGE: a version whose image is uploaded and that was not deployed, from `cofferdam agent show`
    #[arg(long, value_name = "VERSION", value_parser = version,
        conflicts_with_all = ["image", "archive_image", "create", "dry_run"])]
    pub(crate) version: Option<u64>,
    /// The image's name, if the archive has several
    #[arg(long = "image", value_name = "NAME")]
    pub(crate) archive_image: Option<String>,
    /// The agent; see `cofferdam agent create`
    #[arg(long, value_name = "ID", value_parser = agent)]
    pub(crate) agent: String,
    /// Create the agent if it does not exist
    #[arg(long)]
    pub(crate) create: bool,
    /// With --create: the environment to run it in [default: local]
    #[arg(long, value_name = "NAME", requires = "create")]
    pub(crate) environment: Option<String>,
    #[command(flatten)]
    pub(crate) variables: Variables,
    /// A secret of the organization: its value is an environment variable of that name, whatever its hosts are
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
    #[command(flatten)]
    pub(crate) amounts: Amounts,
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
    #[arg(long = "volume", value_name = "CLAIM:/PATH[:ro|:rw]")]
    pub(crate) volumes: Vec<String>,
    /// An empty folder of at most this size that ends with the pod
    #[arg(long = "scratch", value_name = "SIZE:/PATH")]
    pub(crate) scratch: Vec<String>,
    /// The number of equal pods, as far as the environment allows more than one [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = count, allow_negative_numbers = true)]
    pub(crate) replicas: Option<u32>,
    /// Settings from a file (YAML or JSON) with `env`, `secrets`, `resources`, `pod`, `health`; flags add to them
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
    /// Only print the Kubernetes objects that would be applied, without the values of variables
    #[arg(long, conflicts_with_all = ["wait", "create"])]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) waits: Waits,
    // The last, because a heading stays for all that follows it.
    #[command(flatten)]
    pub(crate) health: HealthArgs,
}

const HELP: &str = "\
Exit status: 0 if it was deployed (with --wait: if it is up), 1 if the server
refused it or a file is not as it should be, 2 for a wrong command line, also
for a value of an option that cannot be, 3 if it failed to come up, 4 if --timeout ended the wait, 5 if the server could not be
reached, 130 when cancelled, 143 when terminated.

A version serves once it is ready: by default when its container has run for
3 seconds. An agent that takes time to start names what to ask:
  http:8080/ready   a status from 200 to 399 on port 8080 of the container
  tcp:5432          the port accepts a connection
  exec:/bin/check   the command, in the container, exits with 0. No shell reads
                    it; exec:[\"/bin/sh\", \"-c\", \"...\"] starts one

Examples:
  docker save my-agent | gzip | cofferdam deploy - --agent support --wait
  cofferdam deploy my-agent.tar.gz --agent support --env MODE=live --wait
  cofferdam deploy r.example/team/my-agent:1.4 --agent support
  cofferdam deploy --version 4 --agent support  # uploaded, not deployed yet
  cofferdam deploy my-agent.tar.gz --agent support \\
    --readiness http:8080/ready --min-ready 10s --start-time 10m --wait
  cofferdam deploy my-agent.tar.gz --agent support --spec agent.yaml --dry-run
  cofferdam agent logs support -f";
