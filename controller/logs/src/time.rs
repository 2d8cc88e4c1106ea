//! Times of lines in RFC 3339, as clusters write them, and the values of `since`. Pure but for the clock.

use jiff::Timestamp;

/// The longest text that can be a time.
const MAX_LENGTH: usize = 40;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Nanoseconds of Unix time.
pub(crate) fn nanos(text: &str) -> Option<i64> {
    let parsed: Timestamp = (text.len() <= MAX_LENGTH).then(|| text.parse().ok())??;
    i64::try_from(parsed.as_nanosecond()).ok()
}

/// RFC 3339 in UTC.
pub(crate) fn text(nanos: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| String::new(), |time| time.to_string())
}

/// Nanoseconds of Unix time.
pub(crate) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Reads a value of `since`: RFC 3339, Unix seconds, or an age such as `90s`, `10m`, `1h30m` or `2d`.
pub(crate) fn since(text: &str, now: i64) -> Option<i64> {
    if let Some(time) = nanos(text) {
        return Some(time);
    }
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * NANOS_PER_SECOND);
    }
    let (mut ago, mut number) = (0_i64, None::<i64>);
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                let digit = i64::from(letter.to_digit(10)?);
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        ago = ago.checked_add(number.take()?.checked_mul(unit)?.checked_mul(NANOS_PER_SECOND)?)?;
    }
    (number.is_none() && !text.is_empty()).then(|| now.saturating_sub(ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_clusters_are_read() {
        assert_eq!(nanos("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
        assert_eq!(nanos("1970-01-01T02:00:01.5+02:00"), Some(1_500_000_000));
        assert_eq!(nanos("yesterday"), None);
        assert_eq!(nanos(&"1".repeat(1_000)), None);
        assert_eq!(text(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert!(nanos(&text(now())).is_some_and(|time| time > 1_700_000_000_000_000_000));
    }

    #[test]
    fn since_is_a_time_or_an_age() {
        let now = 1_000_000 * 1_000_000_000;
        for (text, seconds) in [
            ("1970-01-01T00:00:09Z", 9),
            ("12345", 12_345),
            ("90s", 1_000_000 - 90),
            ("1h30m", 1_000_000 - 5_400),
            ("2d", 1_000_000 - 172_800),
        ] {
            assert_eq!(since(text, now), Some(seconds * 1_000_000_000), "{text}");
        }
        for bad in ["", "h", "5", "10x", "-5m", "1h5", "99999999999999999999d", "5 m"] {
            assert_eq!(since(bad, now).is_some(), bad == "5", "{bad}");
        }
    }
}
