//! Limits how fast an agent may write: a token bucket of bytes. Pure but for the clock it is told.

use std::time::Instant;

/// Bytes that a line costs besides its text: number, time and pod.
const LINE_OVERHEAD: u64 = 128;
/// Seconds' worth of bytes that may come at once.
const BURST_SECONDS: u64 = 2;

#[derive(Debug)]
pub(crate) struct RateLimit {
    bytes_per_second: u64,
    left: u64,
    at: Option<Instant>,
}

impl RateLimit {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, left: bytes_per_second.saturating_mul(BURST_SECONDS), at: None }
    }

    /// Takes the bytes of a line of this length. Returns whether there were enough.
    pub(crate) fn admit(&mut self, length: usize, now: Instant) -> bool {
        let since = self.at.map_or(0, |at| now.duration_since(at).as_micros());
        let gained = u128::from(self.bytes_per_second).saturating_mul(since) / 1_000_000;
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        if gained > 0 || self.at.is_none() {
            self.at = Some(now);
            let burst = self.bytes_per_second.saturating_mul(BURST_SECONDS);
            self.left = self.left.saturating_add(gained).min(burst);
        }
        match self.left.checked_sub(LINE_OVERHEAD + length as u64) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut limit = RateLimit::new(1_280_000);
        let start = Instant::now();
        let admitted = |limit: &mut RateLimit, at: u64| {
            (0..100_000).filter(|_| limit.admit(0, start + Duration::from_millis(at))).count()
        };
        assert_eq!(admitted(&mut limit, 0), 20_000);
        assert_eq!(admitted(&mut limit, 0), 0);
        assert_eq!(admitted(&mut limit, 500), 5_000);
        assert_eq!(admitted(&mut limit, 60_000), 20_000, "no more than a burst");
        assert!(!limit.admit(usize::MAX >> 1, start));
    }
}
