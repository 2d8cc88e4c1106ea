//! `cofferdam image`: push images to a registry without Docker, and look at them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use cofferdam_registry::{Platform, Reference};

/// Push container images to a registry without Docker, and inspect them.
///
/// Reads what `docker save` and `podman save` write and OCI layouts, plain or compressed, in one pass, without temporary
/// files. Credentials are those of `docker login`, or COFFERDAM_REGISTRY_USERNAME and COFFERDAM_REGISTRY_PASSWORD.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Image {
    #[command(subcommand)]
    pub command: Command,
}

const HELP: &str = "\
Exit status:
    0  it is done; standard output has the reference with its digest
    1  the image is not right; standard error says what to change
    2  this command line is wrong
  126  the registry, the way to it or the credentials; pushing again sends
       only what is missing
  130  when cancelled

Examples:
  docker save agent:1.0 | cofferdam image push - r.example/team/agent:1.0
  cofferdam image push agent.tar.gz localhost:5000/agent:1.0 --plain-http
  cofferdam image push oci-layout/ r.example/agent:1.0 --platform linux/arm64
  cofferdam image inspect r.example/team/agent:1.0
  cofferdam image inspect agent.tar.gz --json";

#[derive(Subcommand)]
pub enum Command {
    /// Push an image archive
    Push(Box<Push>),
    /// Show what an archive or a registry has: platforms, entry point, layers
    Inspect(Inspect),
}

#[derive(Args)]
pub struct Registry {
    /// Talk to the registry without TLS
    #[arg(long)]
    pub plain_http: bool,
    /// Certificates (PEM) of a private CA, beside those of this machine
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The host of the registry's token service, where it is in another domain than the registry
    #[arg(long, value_name = "HOST")]
    pub token_host: Option<String>,
}

#[derive(Args)]
pub struct Push {
    /// An archive, a folder with an OCI layout, or `-` for standard input
    #[arg(value_name = "PATH|-")]
    pub path: PathBuf,
    /// REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "REF", value_parser = Reference::parse_familiar)]
    pub reference: Reference,
    #[command(flatten)]
    pub registry: Registry,
    /// Push the image for this platform only, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// The image's name in an archive that has several
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// For layers that are not compressed
    #[arg(long, value_enum, default_value = "gzip")]
    pub compression: Compression,
    /// 1 (fast) to 12 (small) for gzip, to 19 for zstd [default: 3]
    #[arg(long, value_name = "N")]
    pub level: Option<i32>,
    /// Let `.env` files and private keys at these paths of a layer through, such as 'app/test/*'
    #[arg(long, value_name = "PATTERN")]
    pub allow: Vec<String>,
    /// Let device nodes through
    #[arg(long)]
    pub allow_devices: bool,
    /// Forget and remember nothing of layers that were pushed before
    #[arg(long)]
    pub no_cache: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Inspect {
    /// REGISTRY/REPOSITORY:TAG, an archive, a folder with an OCI layout, or `-` for standard input
    #[arg(value_name = "REF|PATH")]
    pub what: String,
    #[command(flatten)]
    pub registry: Registry,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    Gzip,
    Zstd,
    None,
}

pub fn main(image: Image) -> anyhow::Result<ExitCode> {
    crate::image::main(image.command)
}
