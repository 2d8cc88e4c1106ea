//! Quantities of Kubernetes (`resource.Quantity`): their grammar, their value, and the bounds that each of our fields has.
//! A cluster takes more than makes sense: `512m` of memory is half a byte there, and `9999999999999Ei` is no bound. Pure.

/// Nobody writes longer ones.
const MAX_BYTES: usize = 32;
/// The largest power of ten that is computed; each field's own bound is far below.
const MAX_POWER: u32 = 30;
const NANOS: u128 = 1_000_000_000;

/// A kind of quantity, with its bounds in its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Processors. A cluster counts in thousandths.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Bytes of a disk.
    Disk,
}

impl Kind {
    /// The smallest and the largest value, in billionths.
    fn bounds(self) -> (u128, u128) {
        match self {
            Self::Cpu => (NANOS / 1_000, 1_024 * NANOS),
            Self::Memory => (NANOS << 20, NANOS << 46),
            Self::Disk => (NANOS, NANOS << 46),
        }
    }

    /// The unit below which nothing is counted, in billionths.
    fn step(self) -> u128 {
        match self {
            Self::Cpu => NANOS / 1_000,
            Self::Memory | Self::Disk => NANOS,
        }
    }

    /// The allowed form and bounds, to put after the field's name.
    pub(crate) fn form(self) -> &'static str {
        match self {
            Self::Cpu => "must be a Kubernetes quantity from 1m to 1024 in steps of 1m, such as `500m` or `2`",
            Self::Memory => {
                "must be a Kubernetes quantity from 1Mi to 64Ti in whole bytes, such as `512Mi` or `2Gi` (`m` is a thousandth)"
            }
            Self::Disk => {
                "must be a Kubernetes quantity from 1 to 64Ti in whole bytes, such as `512Mi` or `1Gi` (`m` is a thousandth)"
            }
        }
    }

    /// Returns true for a quantity within the bounds.
    pub(crate) fn takes(self, text: &str) -> bool {
        let (least, most) = self.bounds();
        billionths(text).is_some_and(|value| (least..=most).contains(&value) && value % self.step() == 0)
    }
}

/// The value in billionths. `None` for what is no quantity of at most 32 bytes without a sign, is finer than a billionth, or
/// is far beyond every bound.
fn billionths(text: &str) -> Option<u128> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = text.strip_suffix(unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.contains('.') || number.trim_matches('.').is_empty() {
        return None;
    }
    let digits: u128 = format!("0{whole}{fraction}").parse().ok()?;
    let (times, power) = scale(unit)?;
    let power = power + 9 - i32::try_from(fraction.len()).ok()?;
    let value = digits.checked_mul(times)?;
    let factor = 10_u128.checked_pow(power.unsigned_abs())?;
    match power {
        0.. => value.checked_mul(factor),
        _ => (value % factor == 0).then_some(value / factor),
    }
}

/// The factor of a unit, and its power of ten.
fn scale(unit: &str) -> Option<(u128, i32)> {
    let binary = |power: u32| Some((1_u128 << (10 * power), 0));
    let decimal = |power: i32| Some((1, power));
    match unit {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power = unit.strip_prefix(['e', 'E'])?;
            let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
            let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let size: i32 = all_digits.then(|| digits.parse().ok()).flatten()?;
            (size.unsigned_abs() <= MAX_POWER).then_some((1, if power.starts_with('-') { -size } else { size }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_that_a_cluster_reads() {
        for (text, value) in [
            ("1", NANOS),
            ("0.5", NANOS / 2),
            ("500m", NANOS / 2),
            (".5", NANOS / 2),
            ("5.", 5 * NANOS),
            ("1.50", 3 * NANOS / 2),
            ("1e3", 1_000 * NANOS),
            ("1E3", 1_000 * NANOS),
            ("1E", NANOS * 1_000_000_000_000_000_000),
            ("12e-3", 12 * NANOS / 1_000),
            ("1e+2", 100 * NANOS),
            ("100u", 100_000),
            ("1n", 1),
            ("1Ki", 1_024 * NANOS),
            ("1.5Gi", 3 * (NANOS << 29)),
            ("1Ei", NANOS << 60),
            ("0", 0),
            ("0.000", 0),
            ("0010", 10 * NANOS),
        ] {
            assert_eq!(billionths(text), Some(value), "{text}");
        }
        for none in [
            "",
            "lots",
            "5x",
            "m",
            "-1",
            "+1",
            "1 Gi",
            " 1",
            "1gi",
            "1KB",
            "1.2.3",
            "1e",
            "1e+",
            ".",
            "..",
            "1Mi5",
            "1K",
            "1mi",
            "1e31",
            "1e-31",
            "0.1n",
            "1e99999999999",
            "\u{661}",
            "1\u{200b}",
            "1Gi\n",
            "1_000",
            "0x10",
            "1,5",
            "NaN",
            "inf",
            "9999999999999999999999999999999Ei",
        ] {
            assert_eq!(billionths(none), None, "{none:?}");
        }
        assert_eq!(billionths(&"1".repeat(33)), None);
    }

    #[test]
    fn each_field_has_bounds_that_a_node_can_have() {
        for (kind, good, bad) in [
            (
                Kind::Cpu,
                ["1m", "0.001", "500m", "2", "1024", "1e3"].as_slice(),
                ["0", "0m", "100u", "0.5m", "1.0005", "1025", "1Gi", "9999999999999Ei", "-1"].as_slice(),
            ),
            (
                Kind::Memory,
                &["1Mi", "1048576", "512Mi", "1.5Gi", "64Ti", "2e9", "1048576000m"],
                &["0", "512m", "512", "1Ki", "1048575", "65Ti", "8Ei", "1.0000001Mi", "9999999999999Ei", "-1Gi"],
            ),
            (
                Kind::Disk,
                &["1", "1000m", "1Ki", "64Ti", "1e3"],
                &["0", "0Gi", "1m", "999m", "0.5", "65Ti", "9999999999999Ei", "-1", "1.1"],
            ),
        ] {
            for text in good {
                assert!(kind.takes(text), "{kind:?} {text}");
            }
            for text in bad {
                assert!(!kind.takes(text), "{kind:?} {text}");
            }
            // The bounds of the sentence are those of the code.
            let words: Vec<&str> = kind.form().split(' ').collect();
            let (least, most) = (words[6], words[8]);
            assert_eq!((billionths(least), billionths(most)), (Some(kind.bounds().0), Some(kind.bounds().1)));
        }
    }
}
