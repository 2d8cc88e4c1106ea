//! Retry counts, pauses and timeouts of requests.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::error::{ClientError, Kind};

/// A name that was not found is not looked up more often, because it seldom appears within seconds.
const MAX_LOOKUPS: u32 = 2;

/// Timeouts and retries of a client.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Attempts per request, including the first.
    pub attempts: u32,
    /// The pause before the second attempt. Doubles each time, with jitter.
    pub first: Duration,
    pub longest: Duration,
    /// A registry that asks for a longer wait is not retried.
    pub longest_retry_after: Duration,
    pub connect: Duration,
    /// Timeout for an answer without a large body.
    pub answer: Duration,
    /// Timeout for a chunk of an upload and for its end, when a registry may move the blob into place.
    pub chunk: Duration,
    /// The longest silence within an answer.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            attempts: 5,
            first: Duration::from_millis(500),
            longest: seconds(20),
            longest_retry_after: seconds(120),
            connect: seconds(10),
            answer: seconds(60),
            chunk: seconds(300),
            silence: seconds(60),
        }
    }
}

pub(super) struct Backoff<'a> {
    patience: &'a Patience,
    tried: u32,
    /// The last refusal in the registry's own words.
    refusal: Option<ClientError>,
}

impl<'a> Backoff<'a> {
    pub(super) fn new(patience: &'a Patience) -> Self {
        Self { patience, tried: 0, refusal: None }
    }

    /// Waits, or returns the error if a retry is not worthwhile.
    pub(super) async fn wait(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.tried += 1;
        let attempts = if error.kind == Kind::Unresolved { MAX_LOOKUPS } else { self.patience.attempts };
        if !error.is_retriable() || self.tried >= attempts {
            // A server that answers before it has the whole request often breaks the connection, and with it its answer.
            // What it said the time before is more helpful.
            return Err(self.refusal.take().filter(|_| error.kind == Kind::Dropped).unwrap_or(error));
        }
        if error.status.is_some() {
            self.refusal = Some(error.clone());
        }
        let pause = match error.retry_after {
            Some(asked) if asked > self.patience.longest_retry_after => return Err(error),
            Some(asked) => asked,
            None => {
                jitter(self.patience.first.saturating_mul(1 << (self.tried - 1).min(16)).min(self.patience.longest))
            }
        };
        tracing::debug!(
            registry = error.registry,
            what = error.what,
            ?pause,
            tried = self.tried,
            "retrying a registry request"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Half of the pause plus up to half of it at random, so that clients that failed together do not retry together.
fn jitter(pause: Duration) -> Duration {
    let mut bits = [0_u8; 2];
    // Without randomness, use the whole pause.
    let part = if getrandom::fill(&mut bits).is_ok() { f64::from(u16::from_le_bytes(bits)) / 65_536.0 } else { 1.0 };
    pause.mul_f64(0.5 + part / 2.0)
}

/// `Retry-After`: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    date(text).map(|at| Duration::from_secs(at.saturating_sub(now)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as Unix seconds.
fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.splitn(3, ':').map(|part| part.parse::<u64>().ok().filter(|n| *n <= 60));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() != Some("GMT") {
        return None;
    }
    // Days since 1970 in the Gregorian calendar. Years start in March, so the leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = (365 * y + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1).checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_seconds() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in [
            "",
            "tomorrow",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
        headers.insert(RETRY_AFTER, "soon".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }

    #[tokio::test]
    async fn it_gives_up_and_does_not_wait_too_long() {
        let patience = Patience { first: Duration::from_millis(1), ..Patience::default() };
        let error = |kind| ClientError::new(kind, "r", "x");
        let mut backoff = Backoff::new(&patience);
        for _ in 1..patience.attempts {
            backoff.wait(error(Kind::Broken)).await.unwrap();
        }
        assert!(backoff.wait(error(Kind::Broken)).await.is_err());
        assert!(Backoff::new(&patience).wait(error(Kind::Forbidden)).await.is_err());
        let mut backoff = Backoff::new(&patience);
        assert!(backoff.wait(error(Kind::Unresolved)).await.is_ok());
        assert!(backoff.wait(error(Kind::Unresolved)).await.is_err());
        let mut backoff = Backoff::new(&patience);
        for kind in [Kind::Broken, Kind::Dropped, Kind::Dropped, Kind::Dropped] {
            let status = Some(500).filter(|_| kind == Kind::Broken);
            backoff.wait(ClientError { status, ..error(kind) }).await.unwrap();
        }
        assert_eq!(backoff.wait(error(Kind::Dropped)).await.unwrap_err().status, Some(500));
        let hour = ClientError { retry_after: Some(Duration::from_secs(3_600)), ..error(Kind::Limited) };
        assert!(Backoff::new(&patience).wait(hour).await.is_err());
    }
}
