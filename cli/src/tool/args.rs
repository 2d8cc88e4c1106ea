//! The arguments of `cofferdam tool`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::grants::GrantArgs;
use crate::args::{Json, Name, Named, STATUSES};

/// Deploy WebAssembly components as tools, call them, roll them back.
///
/// Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Tool {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
`call` has statuses of its own: `cofferdam tool call --help`.

Examples:
  cofferdam tool wrap hash.core.wasm --wit wit --output hash.wasm
  cofferdam tool deploy hash hash.wasm
  cofferdam tool call hash hash-digest-sha256 text=hello
  cofferdam tool deploy weather weather.wasm --allow-http api.example.com
  cofferdam tool deploy weather oci://r.example/weather:1.2 --policy p.yaml
  cofferdam tool show weather
  cofferdam tool rollback weather";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Deploy a component, or a new version of it
    Deploy(Box<Deploy>),
    /// List the tools
    List(Json),
    /// Show a tool: its functions, grants, limits and versions
    Show(Named),
    /// Call a function of a tool
    Call(Call),
    /// Go back to the previous version, or to a given one
    Rollback(Rollback),
    /// Delete a tool and all its versions
    Delete(Name),
    /// Push a tool's component to an OCI registry
    Push(Push),
    /// Make a component from a core module, such as one from a C compiler; needs no server
    Wrap(Wrap),
}

#[derive(Args)]
pub(crate) struct Wrap {
    /// The core module; if it imports WASI 0.1, it gets the adapter to 0.2
    #[arg(value_name = "MODULE")]
    pub(crate) module: PathBuf,
    /// A file or folder with the WIT that it implements
    #[arg(long, value_name = "PATH")]
    pub(crate) wit: PathBuf,
    /// The world, if the WIT has several
    #[arg(long, value_name = "NAME")]
    pub(crate) world: Option<String>,
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Deploy {
    /// 1 to 64 characters of a-z, 0-9 and `-`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A component file, or oci://REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "FILE|oci://REF")]
    pub(crate) component: String,
    /// A YAML file with the grants to ask for
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) grants: GrantArgs,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
#[command(after_help = CALL_HELP)]
pub(crate) struct Call {
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The function (optional if there is only one), then the arguments: one JSON object, `-` for standard input, or
    /// NAME=VALUE for each
    #[arg(value_name = "FUNCTION|JSON|NAME=VALUE")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}

const CALL_HELP: &str = "\
Exit status: 0; 1 if the function failed, 124 after a timeout, 125 if another limit stopped it, 126 if the call was
refused or could not be made.

Examples:
  cofferdam tool call hash data=hello
  cofferdam tool call math add a=1 b=2
  cofferdam tool call math add '{\"a\": 1, \"b\": 2}'
  echo '{\"a\": 1, \"b\": 2}' | cofferdam tool call math add -";

#[derive(Args)]
pub(crate) struct Rollback {
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A digest or a number from `cofferdam tool show` [default: the previous version]
    #[arg(value_name = "VERSION")]
    pub(crate) version: Option<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Push {
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// REGISTRY/REPOSITORY:TAG in a registry that the server's operator allows
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
}
