//! US dollars as whole nano-dollars, read from decimal numbers and texts without rounding.

use std::fmt;

use cofferdam_usage::{NANOS, nanos};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// The most that any price may be, in whole dollars.
const MAX_DOLLARS: u64 = 1_000_000;
/// An amount from 0 to a million dollars, exact to nine decimals. JSON: a number, or a decimal text such as "0.15".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dollars(u64);

/// US dollars: a number, or a decimal text such as `"0.15"`, which is what answers have.
#[derive(ToSchema)]
#[schema(as = Dollars)]
#[serde(untagged)]
#[allow(dead_code)] // For the document of the API only.
pub(super) enum DollarsShape {
    #[schema(example = "1.25")]
    Text(String),
    Number(f64),
}

impl Dollars {
    /// # Errors
    /// A sentence that says which texts are amounts.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("an amount is from 0 to {MAX_DOLLARS} dollars with at most 9 decimals, such as 1.25");
        let nano = nanos(text).ok().filter(|nano| *nano <= MAX_DOLLARS * NANOS);
        nano.map(Self).ok_or_else(wrong)
    }

    /// The amount in nano-dollars.
    pub const fn nano(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / NANOS, self.0 % NANOS);
        match part {
            0 => write!(f, "{whole}"),
            _ => f.write_str(format!("{whole}.{part:09}").trim_end_matches('0')),
        }
    }
}

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl Visitor<'_> for Amount {
            type Value = Dollars;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("dollars: a number, or a decimal text such as \"1.25\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Dollars, E> {
                Dollars::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Dollars, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Dollars, E> {
                self.visit_str(&number.to_string())
            }
            // A float is shown as the shortest decimal that is read as the same one: the digits that were written.
            fn visit_f64<E: Error>(self, number: f64) -> Result<Dollars, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (json, nano, shown) in [
            ("0", 0, "0"),
            ("0.15", 150_000_000, "0.15"),
            ("\"0.15\"", 150_000_000, "0.15"),
            ("1.25", 1_250_000_000, "1.25"),
            ("1e-9", 1, "0.000000001"),
            ("\"0.000000001\"", 1, "0.000000001"),
            ("\"2.50000000000\"", 2_500_000_000, "2.5"),
            ("1000000", 1_000_000 * NANOS, "1000000"),
            ("\"007\"", 7 * NANOS, "7"),
        ] {
            let amount: Dollars = serde_json::from_str(json).unwrap();
            assert_eq!((amount.nano(), amount.to_string().as_str()), (nano, shown), "{json}");
            let again = serde_json::to_string(&amount).unwrap();
            assert_eq!(serde_json::from_str::<Dollars>(&again).unwrap(), amount);
        }
        for json in [
            "-1",
            "\"-1\"",
            "1000000.1",
            "1000001",
            "\"1.\"",
            "\".5\"",
            "\"\"",
            "\"1e3\"",
            "\"1,5\"",
            "1e-10",
            "1e300",
            "null",
            "\"0.0000000001\"",
            "\" 1\"",
            "[1]",
            "\"NaN\"",
            "18446744073709551615",
            "\"+1\"",
        ] {
            assert!(serde_json::from_str::<Dollars>(json).is_err(), "{json}");
        }
    }
}
