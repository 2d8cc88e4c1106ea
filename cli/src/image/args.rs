//! The arguments of `cofferdam image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use cofferdam_registry::compress::Choice;
use cofferdam_registry::{Platform, Reference};

/// Push container images to a registry without Docker, and inspect them.
///
/// Reads what `docker save` and `podman save` write and OCI layouts, plain or compressed, in one pass, without temporary
/// files. Credentials are those of COFFERDAM_REGISTRY_USERNAME and COFFERDAM_REGISTRY_PASSWORD, or of `podman login`,
/// `skopeo login` and `docker login`, in this order; REGISTRY_AUTH_FILE names a file that is the only one.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Image {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Exit status:
    0  done; standard output has the reference with its digest
    1  the image is not valid or not whole, or a file is missing; standard
       error says what to change
    2  the command line is wrong
  126  the registry, the connection or the credentials failed; pushing again
       sends only what is missing
  130  when cancelled; 143 when terminated

Examples:
  docker save agent:1.0 | cofferdam image push - r.example/team/agent:1.0
  cofferdam image push agent.tar.gz localhost:5000/agent:1.0 --plain-http
  cofferdam image push oci-layout/ r.example/agent:1.0 --platform linux/arm64
  cofferdam image inspect r.example/team/agent:1.0
  cofferdam image inspect agent.tar.gz --json";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Push an image archive
    Push(Box<Push>),
    /// Show an image in an archive or a registry: platforms, entry point, layers
    Inspect(Inspect),
}

#[derive(Args)]
pub(crate) struct Registry {
    /// Talk to the registry without TLS
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Certificates (PEM) of a private CA, in addition to those of this machine
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The registry's token service, if it is not evidently its owner's
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) token_host: Option<String>,
}

#[derive(Args)]
pub(crate) struct Push {
    /// An archive, a folder with an OCI layout, or `-` for standard input
    #[arg(value_name = "PATH|-")]
    pub(crate) path: PathBuf,
    /// REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "REF", value_parser = super::reference)]
    pub(crate) reference: Reference,
    #[command(flatten)]
    pub(crate) registry: Registry,
    /// Push the image for this platform only, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// The image's name, if the archive has several
    #[arg(long, value_name = "NAME")]
    pub(crate) image: Option<String>,
    /// Compression of layers that are not compressed yet; `auto`: none for a registry on this machine, else gzip
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) compression: Compression,
    /// 1 (fast) to 12 (small) for gzip, to 19 for zstd [default: 1 for gzip, 3 for zstd]
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<i32>,
    /// Allow `.env` files and private keys at these paths of a layer, such as 'app/test/*'
    #[arg(long, value_name = "PATTERN")]
    pub(crate) allow: Vec<String>,
    /// Allow device nodes
    #[arg(long)]
    pub(crate) allow_devices: bool,
    /// Neither read nor write the cache of layers that were pushed before
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// REGISTRY/REPOSITORY:TAG, an archive, a folder with an OCI layout, or `-` for standard input
    #[arg(value_name = "REF|PATH")]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) registry: Registry,
    /// Show only the image of this name, if the archive has several
    #[arg(long, value_name = "NAME")]
    pub(crate) image: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    Auto,
    Gzip,
    Zstd,
    None,
}

impl Compression {
    /// The name in an environment's settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }

    pub(crate) fn choice(self) -> Choice {
        match self {
            Self::Auto => Choice::Auto,
            Self::Gzip => Choice::Gzip,
            Self::Zstd => Choice::Zstd,
            Self::None => Choice::None,
        }
    }
}
