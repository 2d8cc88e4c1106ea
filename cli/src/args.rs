//! Arguments that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use cofferdam_contract::AgentId;
use serde_json::{Map, Value, json};

use crate::assignments;

/// The exit statuses of commands that ask a server, for their help.
pub(crate) const STATUSES: &str = "\
Exit status: 0 if it was done, 1 if the server refused it or a file is not as it
should be, 2 for a wrong command line, 5 if the server could not be reached.

";

#[derive(Args)]
pub(crate) struct Json {
    /// Print the server's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Name {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Something that is shown by its name, as text or as JSON.
#[derive(Args)]
pub(crate) struct Named {
    #[command(flatten)]
    pub(crate) which: Name,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// An agent that exists.
#[derive(Args)]
pub(crate) struct Which {
    /// The agent's id, from `cofferdam agent list`
    #[arg(value_name = "ID", value_parser = agent)]
    pub(crate) id: String,
}

/// The wait for what was asked for.
#[derive(Args)]
pub(crate) struct Waits {
    /// Wait until it is up or has failed; for `stop`, until nothing of it runs
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: the longest time to wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, requires = "wait")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: Json,
}

/// Environment variables from flags and a file.
#[derive(Args)]
pub(crate) struct Variables {
    /// An environment variable of what runs; stored encrypted, never shown again
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// A file of environment variables, one NAME=VALUE per line; as in Docker's, quotes and `$` are kept
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
}

impl Variables {
    /// # Errors
    /// A line or flag without a name.
    pub(crate) fn read(&self) -> anyhow::Result<Map<String, Value>> {
        assignments::read(self.env_file.as_deref(), "--env", &self.variables)
    }
}

/// CPU and memory of a container.
#[derive(Args)]
pub(crate) struct Amounts {
    /// CPU as a Kubernetes quantity, such as 500m
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) cpu: Option<String>,
    /// Memory as a Kubernetes quantity, such as 512Mi
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) memory: Option<String>,
}

impl Amounts {
    /// The fields that are given, by the API's names.
    pub(crate) fn fields(&self) -> [(&'static str, Option<Value>); 2] {
        [("cpu", &self.cpu), ("memory", &self.memory)]
            .map(|(name, given)| (name, given.as_ref().map(|text| json!(text))))
    }
}

/// A version's number, as `agent show` writes it or without the `v`.
pub(crate) fn version(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let number = digits.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a version's number from `cofferdam agent show`, such as 3 or v3".to_owned())
}

/// A number of things.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected a whole number, such as 2".to_owned())
}

/// The id of an agent.
pub(crate) fn agent(text: &str) -> Result<String, String> {
    match AgentId::parse(text) {
        Ok(id) => Ok(id.as_str().to_owned()),
        Err(_) => Err("an agent's id is 1 to 64 of a-z, 0-9 and `-`, with a letter or digit first and last".to_owned()),
    }
}

/// Splits a number from the unit after it.
fn split(text: &str) -> Result<(u64, &str), String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Ok((number.parse().map_err(|_| "expected a number, with or without a unit")?, unit.trim()))
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).map_err(|_| "expected a time such as 10s, 500ms or 2m")?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        other => return Err(format!("{other:?} is not a unit of time: use ms, s, m or h")),
    };
    Ok(Duration::from_millis(number.checked_mul(millis).ok_or("too long")?))
}

pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text).map_err(|_| "expected a size such as 64MiB or 1GiB")?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" | "kb" => 10,
        "m" | "mib" | "mb" => 20,
        "g" | "gib" | "gb" => 30,
        other => return Err(format!("{other:?} is not a unit of size: use KiB, MiB or GiB")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_id_says_what_it_may_be() {
        assert_eq!(agent("support-2").as_deref(), Ok("support-2"));
        for bad in ["a b", "Support", "-a", "a/b", ""] {
            assert!(agent(bad).unwrap_err().contains("a-z, 0-9"), "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_told_without_the_parsers_words() {
        assert_eq!((version("v3"), count("2")), (Ok(3), Ok(2)));
        for bad in ["-1", "x", "", "1.5", "99999999999999999999"] {
            assert!(count(bad).unwrap_err().contains("whole number"), "{bad}");
            assert!(version(bad).unwrap_err().contains("v3"), "{bad}");
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        for (text, millis) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("3", Some(3_000)),
            ("x", None),
            ("5h", Some(18_000_000)),
            ("5d", None),
        ] {
            assert_eq!(duration(text).ok().map(|d| d.as_millis()), millis, "{text}");
        }
        for (text, size) in [
            ("256MiB", Some(256 << 20)),
            ("1g", Some(1 << 30)),
            ("7", Some(7)),
            ("99999999999GiB", None),
            ("MiB", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text}");
        }
    }
}
