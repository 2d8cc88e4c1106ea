//! The arguments of `cofferdam key`.

use clap::{Args, Subcommand, ValueEnum};

use crate::args::{Json, STATUSES};

/// Make, list, change, rotate and revoke the API keys of an organization.
///
/// A key gives no more than it has: neither scopes, nor time, nor requests a minute. Talks to the server that COFFERDAM_URL names (with
/// COFFERDAM_API_KEY, a key with the scope admin), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Key {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Scopes:
  admin   everything, also keys and secrets
  deploy  deploy tools and agents; covers read
  run     run code, call tools and models; covers invoke and read
  invoke  give tasks to agents, and steer and read these tasks
  read    read

Examples:
  cofferdam key create ci --scope run --expires 90d
  KEY=$(cofferdam key create chat --scope invoke --rate 600)
  cofferdam key list
  cofferdam key rotate key_0123...              # the old text lives a day more
  cofferdam key rotate key_0123... --grace 0    # it has leaked
  cofferdam key revoke key_0123...";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a key; its text is printed once
    Create(Create),
    /// List the keys, without their texts
    List(Json),
    /// Change a key's name, scopes, end or rate
    Update(Update),
    /// Give a key a new text, which is printed once
    Rotate(Rotate),
    /// Revoke a key; what it has under way ends
    Revoke(Id),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    Admin,
    Deploy,
    Run,
    Invoke,
    Read,
}

impl Scope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Deploy => "deploy",
            Self::Run => "run",
            Self::Invoke => "invoke",
            Self::Read => "read",
        }
    }
}

#[derive(Args)]
pub(crate) struct Id {
    /// The key's id, from `cofferdam key list`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Args)]
pub(crate) struct Create {
    /// A name that says who has it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A scope, several with commas or more than once
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    pub(crate) scopes: Vec<Scope>,
    /// The time until it ends, such as 12h, 90d or 52w [default: that of the key that makes it]
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) expires: Option<Period>,
    /// The most requests a minute [default: those of the key that makes it]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) rate: Option<u32>,
    /// Let it manage organizations; only such a key makes one
    #[arg(long)]
    pub(crate) operator: bool,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) which: Id,
    /// Another name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Other scopes in place of those it has, several with commas or more than once
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub(crate) scopes: Vec<Scope>,
    /// The time from now until it ends, such as 12h, 90d or 52w
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) expires: Option<Period>,
    /// Let it not end
    #[arg(long, conflicts_with = "expires")]
    pub(crate) no_end: bool,
    /// The most requests a minute
    #[arg(long, value_name = "NUMBER")]
    pub(crate) rate: Option<u32>,
    /// Take away its own limit of requests
    #[arg(long, conflicts_with = "rate")]
    pub(crate) no_rate: bool,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) which: Id,
    /// The time for which the old text is still accepted, such as 0, 2h or 7d, at most 30d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = period)]
    pub(crate) grace: Period,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// A length of time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) u64);

fn period(text: &str) -> Result<Period, String> {
    let wrong = || "expected a time such as 12h, 90d or 52w".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "" if number == 0 => 1,
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Period).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units() {
        for (text, seconds) in [("0", 0), ("90d", 7_776_000), ("12h", 43_200), ("1w", 604_800), ("5m", 300)] {
            assert_eq!(period(text), Ok(Period(seconds)), "{text}");
        }
        for bad in ["", "7", "d", "-1d", "7y", "99999999999999999999d", "9999999999999999999w"] {
            assert!(period(bad).is_err(), "{bad}");
        }
    }
}
