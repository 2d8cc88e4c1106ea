//! `cofferdam tool`: deploy components as tools and call them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Deploy WebAssembly components as tools, call them, roll them back.
///
/// Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), else to the one on this machine.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub struct Tool {
    #[command(subcommand)]
    pub command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam tool wrap hash.core.wasm --wit wit --output hash.wasm
  cofferdam tool deploy hash hash.wasm
  cofferdam tool call hash data=hello
  cofferdam tool deploy weather weather.wasm --allow-http api.example.com
  cofferdam tool deploy weather oci://r.example/weather:1.2 --policy p.yaml
  cofferdam tool show weather
  cofferdam tool rollback weather";

#[derive(Subcommand)]
pub enum Command {
    /// Deploy a component, or a new version of it
    Deploy(Box<Deploy>),
    /// List the tools
    List(Json),
    /// Show a tool: its functions, what it may do and who limited what, its versions
    Show(Named),
    /// Call a function of a tool
    Call(Call),
    /// Go back to the version before, or to the one that is named
    Rollback(Rollback),
    /// Delete a tool and all its versions
    Delete(Name),
    /// Push a tool's component to an OCI registry
    Push(Push),
    /// Make a component of a core module, such as a C compiler's; needs no server
    Wrap(Wrap),
}

#[derive(Args)]
pub struct Wrap {
    /// The core module; where it imports WASI 0.1 it gets the adapter to 0.2
    #[arg(value_name = "MODULE")]
    pub module: PathBuf,
    /// The file or folder of the WIT that it implements
    #[arg(long, value_name = "PATH")]
    pub wit: PathBuf,
    /// The world, where the WIT has several
    #[arg(long, value_name = "NAME")]
    pub world: Option<String>,
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub struct Json {
    /// Print the server's answer as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Name {
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Args)]
pub struct Named {
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub output: Json,
}

#[derive(Args)]
pub struct Deploy {
    /// 1 to 64 of a-z, 0-9 and `-`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A component's file, or oci://REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "FILE|oci://REF")]
    pub component: String,
    /// What the tool asks for, as a YAML document
    #[arg(long, value_name = "FILE", conflicts_with_all = ["allow_http", "secret", "variables", "keyvalue", "files", "tools", "allow_models"])]
    pub policy: Option<PathBuf>,
    /// Ask for outbound HTTP to a host, such as api.example.com, *.example.com or localhost:8080
    #[arg(long, value_name = "HOST")]
    pub allow_http: Vec<String>,
    /// Ask for a secret; the tool gets a placeholder in the variable of that name, or in another: VARIABLE=NAME
    #[arg(long, value_name = "NAME")]
    pub secret: Vec<String>,
    /// A configuration value, which is also a variable of the tool's environment
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Ask for key-value storage
    #[arg(long)]
    pub keyvalue: bool,
    /// Ask for a folder that lasts between calls, /data
    #[arg(long)]
    pub files: bool,
    /// Ask to call another tool
    #[arg(long = "tool", value_name = "NAME")]
    pub tools: Vec<String>,
    /// Ask for a model of the upstream that the operator configured; `*` for all that are allowed
    #[arg(long = "allow-model", value_name = "MODEL")]
    pub allow_models: Vec<String>,
    #[command(flatten)]
    pub output: Json,
}

#[derive(Args)]
#[command(after_help = CALL_HELP)]
pub struct Call {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The function (not needed where there is one), then the arguments: one JSON object, `-` for standard input, or
    /// NAME=VALUE for each
    #[arg(value_name = "FUNCTION|JSON|NAME=VALUE")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub output: Json,
}

const CALL_HELP: &str = "\
Exit status: 0; 1 where the function failed, 124 after a timeout, 125 where another limit stopped it, 126 where the call
was refused or could not be made.

Examples:
  cofferdam tool call hash data=hello
  cofferdam tool call math add a=1 b=2
  cofferdam tool call math add '{\"a\": 1, \"b\": 2}'
  echo '{\"a\": 1, \"b\": 2}' | cofferdam tool call math add -";

#[derive(Args)]
pub struct Rollback {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A digest or a number of `cofferdam tool show` [default: the version before]
    #[arg(value_name = "VERSION")]
    pub version: Option<String>,
    #[command(flatten)]
    pub output: Json,
}

#[derive(Args)]
pub struct Push {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// REGISTRY/REPOSITORY:TAG, of a registry that the server's operator names
    #[arg(value_name = "REF")]
    pub reference: String,
}

pub fn main(tool: Tool) -> anyhow::Result<ExitCode> {
    crate::tool::main(tool.command)
}
