//! The arguments of `cofferdam audit`.

use clap::Args;

use crate::args::{Json, STATUSES};

/// Show who changed what, and which callers were refused.
///
/// The newest entries come first. Talks to the server that COFFERDAM_URL names (with COFFERDAM_API_KEY, a key with the scope admin), or
/// to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Audit {
    /// Only this action, or all that begin with it, such as key or key.rotate
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Option<String>,
    /// Only what the key with this id did
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<String>,
    /// Only entries before the one with this id, for the next page
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<String>,
    /// Only entries after the one with this id
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<String>,
    /// The most entries
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: Json,
}

const HELP: &str = "\
Examples:
  cofferdam audit
  cofferdam audit --action key --limit 200
  cofferdam audit --action authentication       # refused callers
  cofferdam audit --key key_0123... --json";
