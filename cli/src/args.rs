//! Arguments that several commands share.

use std::time::Duration;

use clap::Args;

#[derive(Args)]
pub(crate) struct Json {
    /// Print the server's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Name {
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
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
