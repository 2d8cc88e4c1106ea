//! Lets no call out to a server that failed several times in a row, for a while.

use std::time::Duration;

use cofferdam_core::backoff;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures in a row that open it.
const MAX_FAILURES: u32 = 5;
const FIRST_OPEN: Duration = Duration::from_secs(5);
const LONGEST_OPEN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    until: Option<Instant>,
}

/// The breaker of one connector.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

impl Breaker {
    /// Says how long to wait, if no call may go out now.
    pub(crate) fn ready(&self) -> Result<(), Duration> {
        let mut state = self.0.lock();
        let Some(until) = state.until else { return Ok(()) };
        let now = Instant::now();
        if now < until {
            return Err(until - now);
        }
        // One call tries; the others wait until it has an answer, or a little.
        state.until = Some(now + FIRST_OPEN);
        Ok(())
    }

    pub(crate) fn good(&self) {
        *self.0.lock() = State::default();
    }

    pub(crate) fn failed(&self) {
        let mut state = self.0.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= MAX_FAILURES {
            let wait = backoff(FIRST_OPEN, LONGEST_OPEN, state.failures - MAX_FAILURES + 1);
            state.until = Some(Instant::now() + wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_one_call_tries() {
        let breaker = Breaker::default();
        for _ in 0..MAX_FAILURES {
            assert!(breaker.ready().is_ok());
            breaker.failed();
        }
        assert_eq!(breaker.ready(), Err(FIRST_OPEN));
        tokio::time::advance(FIRST_OPEN).await;
        assert!(breaker.ready().is_ok() && breaker.ready().is_err());
        breaker.failed();
        assert_eq!(breaker.ready(), Err(FIRST_OPEN * 2));
        breaker.good();
        assert!(breaker.ready().is_ok());
    }
}
