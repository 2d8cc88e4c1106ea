//! Retry counts, pauses and timeouts of requests, and the time that all waits of a client for a busy registry may take
//! together.

use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use parking_lot::Mutex;

use super::error::{ClientError, Kind};

/// Timeouts and retries of a client.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Attempts per request, including the first.
    pub attempts: u32,
    /// The pause before the second attempt. Doubles each time, with jitter.
    pub first: Duration,
    pub longest: Duration,
    /// All waits of a client together that a registry asks for: by 429, or by `Retry-After`. Not retried after that.
    pub limited: Duration,
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
            limited: seconds(120),
            connect: seconds(10),
            answer: seconds(60),
            chunk: seconds(300),
            silence: seconds(60),
        }
    }
}

/// The time that a client has waited because the registry asked it to. Waits at the same time count once.
#[derive(Debug, Default)]
pub(super) struct Waited(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    all: Duration,
    until: Option<Instant>,
}

impl Waited {
    /// Takes a wait that begins now. False if it would be too much.
    fn take(&self, wait: Duration, most: Duration) -> bool {
        let now = Instant::now();
        let Some(end) = now.checked_add(wait) else { return false };
        let mut spent = self.0.lock();
        let from = spent.until.map_or(now, |until| until.max(now));
        let all = spent.all.saturating_add(end.saturating_duration_since(from));
        if all > most {
            return false;
        }
        *spent = Spent { all, until: Some(end.max(from)) };
        true
    }
}

/// The retries of one request.
pub(crate) struct Backoff<'a> {
    patience: &'a Patience,
    waited: &'a Waited,
    tried: u32,
    /// The last refusal in the registry's own words.
    refusal: Option<ClientError>,
}

impl<'a> Backoff<'a> {
    pub(super) fn new(patience: &'a Patience, waited: &'a Waited) -> Self {
        Self { patience, waited, tried: 0, refusal: None }
    }

    /// Waits, or returns the error if a retry is not worthwhile.
    pub(crate) async fn wait(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.tried = self.tried.saturating_add(1);
        let attempts = match error.kind {
            // Its time is bounded instead.
            Kind::Limited => u32::MAX,
            _ => error.attempts.unwrap_or(self.patience.attempts).min(self.patience.attempts),
        };
        if !error.is_retriable() || self.tried >= attempts {
            // A server that answers before it has the whole request often breaks the connection, and with it its answer.
            // What it said the time before is more helpful.
            let error = self.refusal.take().filter(|_| error.kind == Kind::Dropped).unwrap_or(error);
            // A request that this one was part of is not made again for the same reason.
            return Err(ClientError { attempts: Some(1), ..error });
        }
        if error.status.is_some() {
            self.refusal = Some(error.clone());
        }
        // A registry that asks for no pause gets our own, so that it cannot make us ask without end.
        let pause = self.pause().max(error.retry_after.unwrap_or_default());
        let asked = error.kind == Kind::Limited || error.retry_after.is_some();
        if asked && !self.waited.take(pause, self.patience.limited) {
            return Err(error);
        }
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

    fn pause(&self) -> Duration {
        let doubled = self.patience.first.saturating_mul(1 << (self.tried.saturating_sub(1)).min(16));
        jitter(doubled.min(self.patience.longest))
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
        let waited = Waited::default();
        let new = || Backoff::new(&patience, &waited);
        let error = |kind| ClientError::new(kind, "r", "x");
        let mut backoff = new();
        for _ in 1..patience.attempts {
            backoff.wait(error(Kind::Broken)).await.unwrap();
        }
        assert!(backoff.wait(error(Kind::Broken)).await.is_err());
        assert!(new().wait(error(Kind::Forbidden)).await.is_err());
        // Whoever gets the error of another loop does not begin it anew.
        let mut inner = new();
        let tried = loop {
            if let Err(error) = inner.wait(error(Kind::Broken)).await {
                break error;
            }
        };
        assert!(new().wait(tried).await.is_err());
        let mut backoff = new();
        let few = || ClientError { attempts: Some(2), ..error(Kind::Unresolved) };
        assert!(backoff.wait(few()).await.is_ok());
        assert!(backoff.wait(few()).await.is_err());
        let mut backoff = new();
        for kind in [Kind::Broken, Kind::Dropped, Kind::Dropped, Kind::Dropped] {
            let status = Some(500).filter(|_| kind == Kind::Broken);
            backoff.wait(ClientError { status, ..error(kind) }).await.unwrap();
        }
        assert_eq!(backoff.wait(error(Kind::Dropped)).await.unwrap_err().status, Some(500));
        for seconds in [3_600, u64::MAX] {
            let long = ClientError { retry_after: Some(Duration::from_secs(seconds)), ..error(Kind::Limited) };
            assert!(new().wait(long).await.is_err());
        }
    }

    /// Each request had the whole time for itself, so that a registry could hold up a push for as long as it liked.
    #[tokio::test]
    async fn all_requests_share_the_time_that_a_registry_may_ask_for() {
        let patience =
            Patience { first: Duration::from_millis(1), limited: Duration::from_millis(100), ..Patience::default() };
        let waited = Waited::default();
        let busy = |ms| {
            let retry_after = Some(Duration::from_millis(ms));
            ClientError { retry_after, ..ClientError::new(Kind::Limited, "r", "x") }
        };
        for _ in 0..2 {
            Backoff::new(&patience, &waited).wait(busy(30)).await.unwrap();
        }
        assert!(Backoff::new(&patience, &waited).wait(busy(60)).await.is_err());
        // More often than other failures, as long as there is time; and not without a pause.
        let mut backoff = Backoff::new(&patience, &waited);
        let mut times = 0;
        while backoff.wait(busy(0)).await.is_ok() {
            times += 1;
        }
        assert!((4..40).contains(&times), "{times}");
    }

    #[test]
    fn waits_at_the_same_time_count_once() {
        let (waited, second) = (Waited::default(), Duration::from_secs(1));
        for _ in 0..10 {
            assert!(waited.take(second, second * 2));
        }
        assert!(!waited.take(second * 3, second * 2) && waited.take(second + second / 2, second * 2));
    }
}
