//! The arguments of `cofferdam connector`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::{Json, Name, Named, STATUSES};

/// Connect MCP servers, whose tools agents may use as `mcp:NAME`.
///
/// Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY, a key with the scope deploy), or to the one on this
/// machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Connector {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam connector set docs --url https://example.com/mcp --only 'search_*'
  pass show crm | cofferdam connector set crm --url URL --auth bearer
  cofferdam connector set mail --url URL --auth oauth2 --per-person
  cofferdam connector login mail --person ann@example.com
  cofferdam connector test docs
  cofferdam connector list
  cofferdam connector delete docs";

#[derive(Subcommand)]
pub(crate) enum Command {
    Set(Box<Set>),
    /// List the connectors
    List(Json),
    /// Show a connector, without its secrets
    Show(Named),
    /// Test a connector: reach its server, and list its tools; the exit status is 1 if it fails
    Test(OfPerson),
    /// Begin a login: print the address for a browser
    Login(OfPerson),
    /// Forget a login
    Logout(OfPerson),
    /// Delete a connector, with all logins at it
    Delete(Name),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    None,
    ApiKey,
    Bearer,
    Oauth2,
}

/// Create a connector, or replace one.
///
/// The key of `--auth api-key`, the token of `--auth bearer` and the client's secret of `--client-id` are read from standard
/// input or from a prompt. Other settings (headers, renamed tools, time-outs) come as JSON with --settings, see
/// docs/connectors.md; the flags override it.
#[derive(Args)]
pub(crate) struct Set {
    /// 1 to 64 of a-z, 0-9, `-` and `_`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The server's endpoint for streamable HTTP
    #[arg(long, value_name = "URL", required_unless_present = "settings")]
    pub(crate) url: Option<String>,
    /// The credentials that the server wants
    #[arg(long, value_enum)]
    pub(crate) auth: Option<Auth>,
    /// The header for the key of `--auth api-key` [default: x-api-key]
    #[arg(long, value_name = "NAME", requires = "auth")]
    pub(crate) header: Option<String>,
    /// The client's id at the authorization server [default: this server registers itself]
    #[arg(long, value_name = "ID", requires = "auth")]
    pub(crate) client_id: Option<String>,
    /// The client has a secret, which is read from standard input
    #[arg(long, requires = "client_id")]
    pub(crate) client_secret: bool,
    /// A scope to ask for at the login [default: what the server names]
    #[arg(long = "scope", value_name = "SCOPE", requires = "auth")]
    pub(crate) scopes: Vec<String>,
    /// Each person logs in for himself
    #[arg(long, requires = "auth")]
    pub(crate) per_person: bool,
    /// Only tools with names like this; `*` stands for any characters
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    /// No tools with names like this
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Put before the names of its tools
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// Certificates (PEM) to trust at the server, besides the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A file with the settings as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct OfPerson {
    #[command(flatten)]
    pub(crate) asked: Named,
    /// The person, where each logs in for himself
    #[arg(long, value_name = "PERSON")]
    pub(crate) person: Option<String>,
}
