//! The time after which an upstream wants to be asked again, from its headers. Pure.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use http::HeaderMap;

/// The longest time that is believed.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Reads `retry-after-ms`, then `retry-after` as seconds or as a date. Nonsense is as good as nothing.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    let found = match text("retry-after-ms").and_then(number) {
        Some(ms) => Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(MAX_RETRY_AFTER),
        None => {
            let text = text("retry-after")?;
            match number(text) {
                Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(MAX_RETRY_AFTER),
                None => date(text)?.duration_since(now).unwrap_or_default(),
            }
        }
    };
    Some(found.min(MAX_RETRY_AFTER))
}

fn date(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(DateTime::from_str(text, Format::HttpDate).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_dates_and_milliseconds_are_read_and_bounded() {
        // Wed, 21 Oct 2015 07:28:00 GMT.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        for (name, text, expected) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "0", Some(0)),
            ("retry-after", "0.5", Some(500)),
            ("retry-after", "1e99", Some(600_000)),
            ("retry-after", "999999999999999999999", Some(600_000)),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "inf", None),
            ("retry-after", "soon", None),
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT", Some(30_000)),
            ("retry-after", "Wed, 21 Oct 2015 07:27:30 GMT", Some(0)),
            ("retry-after", "Fri, 21 Oct 2195 07:27:30 GMT", Some(600_000)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after-ms", "x", None),
            ("x-other", "1", None),
        ] {
            let headers: HeaderMap =
                [(name.parse::<http::HeaderName>().unwrap(), text.parse().unwrap())].into_iter().collect();
            assert_eq!(retry_after(&headers, now).map(|time| time.as_millis()), expected, "{name}: {text}");
        }
    }
}
