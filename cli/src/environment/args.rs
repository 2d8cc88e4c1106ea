//! The arguments of `cofferdam environment`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::{Amounts, Json, Named, STATUSES, Variables, count};
use crate::image::args::Compression;

/// Manage environments: the clusters that agents run in, and the registries of their images.
///
/// Every organization has the environment `local`, which the server's own settings make. Others are made here, for any
/// number of clusters at once. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY, a key with the scope
/// admin), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Environment {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  kubectl config view --raw --flatten --minify |
    cofferdam environment create prod --kubeconfig - --namespace agents \\
      --images r.example/agents
  cofferdam environment test prod
  cofferdam agent create support --environment prod
  cofferdam environment list
  cofferdam environment delete prod";

#[derive(Subcommand)]
pub(crate) enum Command {
    Create(Box<Create>),
    /// List the environments
    List(Json),
    /// Show an environment's settings, without its secrets
    Show(Named),
    Test(Test),
    Delete(Delete),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    Amd64,
    Arm64,
}

/// Create an environment, or replace all its settings with --replace.
#[derive(Args)]
#[command(after_long_help = CREATE_HELP)]
pub(crate) struct Create {
    /// 1 to 63 of a-z, 0-9 and `-`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Replace all settings of an environment that exists; what is not given is unset
    #[arg(long)]
    pub(crate) replace: bool,
    /// A file with the settings as JSON, see docs/agents.md, or `-`; the other flags override it
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The cluster: a kubeconfig that names no files and no programs, or `-`
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The namespace of the agents; it has to exist [default: cofferdam-agents]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// The nodes' processors [default: amd64]
    #[arg(long, value_name = "NAME")]
    pub(crate) architecture: Option<Architecture>,
    /// The RuntimeClass of the agents' pods, such as gvisor; the cluster has to have it [default: the nodes' own runtime]
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime_class: Option<String>,
    /// The registry that images are pushed to
    #[arg(long, value_name = "HOST[:PORT][/PREFIX]")]
    pub(crate) images: Option<String>,
    /// The same registry as the nodes name it, if that differs
    #[arg(long, value_name = "HOST[:PORT][/PREFIX]")]
    pub(crate) images_pull: Option<String>,
    /// The compression of layers that arrive uncompressed [default: auto]
    #[arg(long, value_enum)]
    pub(crate) compression: Option<Compression>,
    /// The registry speaks plain HTTP
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Certificates (PEM) to trust at the registry, besides the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The user name at the registry; its password comes with --password-stdin
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    pub(crate) username: Option<String>,
    /// Read the registry's password from standard input, or from a prompt
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
    /// A Secret in the namespace with which the nodes pull images
    #[arg(long = "image-pull-secret", value_name = "NAME")]
    pub(crate) image_pull_secrets: Vec<String>,
    /// A path in images at which `.env` files and private keys are accepted
    #[arg(long = "allow-in-images", value_name = "PATH")]
    pub(crate) allow_in_images: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Json,
    // The headings are the last, because one stays for all that follows it.
    #[command(flatten, next_help_heading = "Agents that ask for none of their own get")]
    pub(crate) amounts: Amounts,
    #[command(flatten, next_help_heading = "All agents in it get")]
    pub(crate) variables: Variables,
    #[command(flatten, next_help_heading = "Deployments may ask for")]
    pub(crate) pods: Allow,
}

/// Pod settings that deployments may use.
#[derive(Args)]
pub(crate) struct Allow {
    /// A key of labels that deployments may set; a `*` at its end allows all that begin like it
    #[arg(long = "allow-label", value_name = "KEY")]
    pub(crate) labels: Vec<String>,
    /// A key of annotations that deployments may set
    #[arg(long = "allow-annotation", value_name = "KEY")]
    pub(crate) annotations: Vec<String>,
    /// A key of taints that deployments may tolerate
    #[arg(long = "allow-toleration", value_name = "KEY")]
    pub(crate) tolerations: Vec<String>,
    /// A priority class that deployments may use
    #[arg(long = "allow-priority-class", value_name = "NAME")]
    pub(crate) priority_classes: Vec<String>,
    /// A PersistentVolumeClaim that deployments may mount
    #[arg(long = "allow-claim", value_name = "NAME")]
    pub(crate) claims: Vec<String>,
    /// The most pods of one version [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = count, allow_negative_numbers = true)]
    pub(crate) max_replicas: Option<u32>,
}

const CREATE_HELP: &str = "\
`kubectl config view --raw --flatten --minify` prints a kubeconfig without files. The rights that its user needs are in
docs/clusters.md. Secrets are stored encrypted and not shown again.

For S3 and ECR (`kind` is `cloud`), give `bucket`, `region`, `ecr` and the keys with --settings:
  {\"kind\": \"cloud\", \"images\": \"1.dkr.ecr.eu-west-1.amazonaws.com/x\", \"bucket\": \"images\",
   \"region\": \"eu-west-1\", \"ecr\": true}";

/// Test an environment: the cluster's answer, the rights of the credentials, the registry.
///
/// Asks the cluster which rights the credentials have, tries by a dry run if the namespace takes objects, and begins an
/// upload to the registry and cancels it. Nothing stays changed. The exit status is 1 if a check is bad.
#[derive(Args)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) asked: Named,
}

/// Delete an environment that no agent uses.
///
/// With --force its agents are deleted with it, also where the cluster is gone or refuses our credentials. What may stay
/// in the cluster is printed.
#[derive(Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) asked: Named,
    /// Delete its agents too, and leave behind what the cluster does not let go of
    #[arg(long)]
    pub(crate) force: bool,
}
