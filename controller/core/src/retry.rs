//! Time between attempts: exponential backoff with a ceiling, and ticks that do not catch up.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The wait before attempt number `attempt`, counted from 1: `first`, then twice as long each time, up to `most`.
pub fn backoff(first: Duration, most: Duration, attempt: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1).min(16)).unwrap_or(u32::MAX)).min(most)
}

/// Ticks every `period`. A late tick delays the next ones; missed ticks are not made up for.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A duration in milliseconds, as the store keeps it.
pub fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let waits: Vec<u64> = [0, 1, 2, 3, 5, 6, 40, u32::MAX].map(|n| backoff(first, most, n).as_secs()).to_vec();
        assert_eq!(waits, [1, 1, 2, 4, 16, 30, 30, 30]);
    }
}
