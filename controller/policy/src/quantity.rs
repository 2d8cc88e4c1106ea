//! Sizes and CPU shares in the notation of Kubernetes and Wassette: `512Mi`, `1G`, `500m`.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// A number of bytes: `536870912`, `512Mi`, `1Gi`, `100M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub u64);

/// A share of one CPU in thousandths: `500m`, `0.5`, `1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpu(pub u64);

const UNITS: [(&str, u64); 11] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("", 1),
];

impl Bytes {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(at)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        number.parse::<u64>().ok()?.checked_mul(*factor).map(Self)
    }
}

impl Cpu {
    fn parse(text: &str) -> Option<Self> {
        if let Some(thousandths) = text.strip_suffix('m') {
            return thousandths.parse().ok().map(Self);
        }
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let thousandths: u64 = format!("{part:0<3}").parse().ok()?;
        whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(thousandths).map(Self)
    }
}

macro_rules! from_text_or_number {
    ($type:ident, $expecting:literal, $number:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        $type::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }

                    fn visit_u64<E: Error>(self, number: u64) -> Result<$type, E> {
                        let read: Option<u64> = $number(number);
                        read.map($type).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
                    }

                    fn visit_f64<E: Error>(self, number: f64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Reader)
            }
        }
    };
}

from_text_or_number!(Bytes, "a number of bytes, such as 512Mi", Some);
from_text_or_number!(Cpu, "a share of one CPU, such as 500m or 0.5", |number: u64| number.checked_mul(1_000));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, bytes) in [
            ("512Mi", Some(512 << 20)),
            ("1Gi", Some(1 << 30)),
            ("100M", Some(100_000_000)),
            ("7", Some(7)),
            ("", None),
            ("Mi", None),
            ("-1", None),
            ("1.5Gi", None),
            ("1 Gi", None),
            ("99999999999Gi", None),
        ] {
            assert_eq!(Bytes::parse(text).map(|b| b.0), bytes, "{text}");
        }
        for (text, cpu) in [
            ("500m", Some(500)),
            ("1", Some(1_000)),
            ("0.5", Some(500)),
            ("1.25", Some(1_250)),
            ("0.0001", None),
            ("x", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(Cpu::parse(text).map(|c| c.0), cpu, "{text}");
        }
    }
}
