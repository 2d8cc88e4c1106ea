//! How fast an agent may write: so much a second, and some seconds' worth at once. Pure but for the clock it is told.

use std::time::Instant;

/// What a line costs besides its text: its number, time, pod.
const LINE: u64 = 128;
/// Seconds' worth that may come at once.
const BURST: u64 = 2;

#[derive(Debug)]
pub struct Bucket {
    rate: u64,
    left: u64,
    at: Option<Instant>,
}

impl Bucket {
    pub fn new(rate: u64) -> Self {
        Self { rate, left: rate.saturating_mul(BURST), at: None }
    }

    /// Whether a line of this length may come now.
    pub fn admit(&mut self, length: usize, now: Instant) -> bool {
        let since = self.at.map_or(0, |at| u64::try_from(now.duration_since(at).as_micros()).unwrap_or(u64::MAX));
        let gained = (u128::from(self.rate) * u128::from(since) / 1_000_000).min(u128::from(u64::MAX));
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        if gained > 0 || self.at.is_none() {
            self.at = Some(now);
            self.left = self.left.saturating_add(gained).min(self.rate.saturating_mul(BURST));
        }
        match self.left.checked_sub(LINE + length as u64) {
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
        let mut bucket = Bucket::new(1_280_000);
        let start = Instant::now();
        let admitted = |bucket: &mut Bucket, at: u64| {
            (0..100_000).filter(|_| bucket.admit(0, start + Duration::from_millis(at))).count()
        };
        assert_eq!(admitted(&mut bucket, 0), 20_000);
        assert_eq!(admitted(&mut bucket, 0), 0);
        assert_eq!(admitted(&mut bucket, 500), 5_000);
        assert_eq!(admitted(&mut bucket, 60_000), 20_000, "no more than a burst");
        assert!(!bucket.admit(usize::MAX >> 1, start));
    }
}
