//! The circuit breaker of an upstream: opens after failures in a row, lets one call try after a while, closes when that one
//! is answered. A few atomic numbers, no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_core::backoff;
use tokio::time::Instant;

/// Failures in a row that open it.
pub(crate) const MAX_FAILURES: u32 = 5;
/// The time for which it is open at first, and the longest.
const FIRST_OPEN: Duration = Duration::from_secs(10);
const LONGEST_OPEN: Duration = Duration::from_secs(60);
/// A trial that says nothing for so long makes room for the next one.
const TRIAL_MS: u64 = 60_000;
/// The wait of those who come while a trial is under way.
const TRIAL_WAIT_MS: u64 = 1_000;

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the upstream was made, from 1 on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        ms(self.0.elapsed()).saturating_add(1)
    }
}

/// The breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    clock: Clock,
    /// Failures since the last call that ended well.
    failures: AtomicU32,
    /// The time up to which it is open; 0: closed.
    until: AtomicU64,
    /// How often it opened since it was closed.
    opened: AtomicU32,
    /// The time up to which a trial is taken to be under way.
    trial: AtomicU64,
}

impl Breaker {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            failures: AtomicU32::new(0),
            until: AtomicU64::new(0),
            opened: AtomicU32::new(0),
            trial: AtomicU64::new(0),
        }
    }

    /// Says how long to wait, if no call may go out now.
    pub(crate) fn ready(&self) -> Result<(), Duration> {
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return Ok(());
        }
        let now = self.clock.now();
        if now < until {
            return Err(Duration::from_millis(until - now));
        }
        match self.trial.load(Ordering::Acquire) > now {
            true => Err(Duration::from_millis(TRIAL_WAIT_MS)),
            false => Ok(()),
        }
    }

    /// True if it has nothing to remember.
    pub(crate) fn is_quiet(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == 0 && self.until.load(Ordering::Relaxed) == 0
    }

    /// Lets a call go out: any while it is closed, one at a time after it was open.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Entry, Duration> {
        self.ready()?;
        let mut trial = false;
        if self.until.load(Ordering::Acquire) != 0 {
            let now = self.clock.now();
            let seen = self.trial.load(Ordering::Acquire);
            let mine = self.trial.compare_exchange(seen, now + TRIAL_MS, Ordering::AcqRel, Ordering::Acquire);
            if seen > now || mine.is_err() {
                return Err(Duration::from_millis(TRIAL_WAIT_MS));
            }
            trial = true;
        }
        Ok(Entry { breaker: Arc::clone(self), trial })
    }

    fn open(&self, times: u32) {
        self.failures.store(0, Ordering::Release);
        self.opened.store(times, Ordering::Release);
        let until = self.clock.now() + ms(backoff(FIRST_OPEN, LONGEST_OPEN, times));
        self.until.store(until, Ordering::Release);
        self.trial.store(0, Ordering::Release);
    }
}

/// One call that went out. Dropped without a word, it changes nothing.
#[derive(Debug)]
pub(crate) struct Entry {
    breaker: Arc<Breaker>,
    trial: bool,
}

impl Entry {
    /// The upstream answers.
    pub(crate) fn answered(&mut self) {
        if std::mem::take(&mut self.trial) {
            self.breaker.failures.store(0, Ordering::Release);
            self.breaker.opened.store(0, Ordering::Release);
            self.breaker.trial.store(0, Ordering::Release);
            self.breaker.until.store(0, Ordering::Release);
        }
    }

    /// The call ended well.
    pub(crate) fn good(mut self) {
        self.answered();
        // A write for every call would keep the number moving between cores.
        if self.breaker.failures.load(Ordering::Relaxed) != 0 {
            self.breaker.failures.store(0, Ordering::Release);
        }
    }

    /// The upstream failed. True: the breaker is open from now on.
    pub(crate) fn failed(mut self) -> bool {
        if std::mem::take(&mut self.trial) {
            self.breaker.open(self.breaker.opened.load(Ordering::Acquire).saturating_add(1));
            return true;
        }
        let failures = self.breaker.failures.fetch_add(1, Ordering::AcqRel) + 1;
        let opens = failures == MAX_FAILURES && self.breaker.until.load(Ordering::Acquire) == 0;
        if opens {
            self.breaker.open(1);
        }
        opens
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.trial.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn breaker() -> Arc<Breaker> {
        Arc::new(Breaker::new(Clock::new()))
    }

    fn fail(breaker: &Arc<Breaker>, times: u32) {
        for _ in 0..times {
            breaker.enter().unwrap().failed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_good_call_starts_the_row_anew() {
        let breaker = breaker();
        fail(&breaker, MAX_FAILURES - 1);
        breaker.enter().unwrap().good();
        fail(&breaker, MAX_FAILURES - 1);
        // A call whose caller went away says nothing.
        drop(breaker.enter().unwrap());
        assert!(breaker.ready().is_ok());
        assert!(breaker.enter().unwrap().failed());
        assert_eq!(breaker.ready().unwrap_err(), FIRST_OPEN);
        assert!(breaker.enter().is_err());
        advance(Duration::from_secs(9)).await;
        assert_eq!(breaker.ready().unwrap_err(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_tries_and_the_time_grows_until_it_is_answered() {
        let breaker = breaker();
        fail(&breaker, MAX_FAILURES);
        for seconds in [10, 20, 40, 60, 60] {
            assert_eq!(breaker.ready().unwrap_err(), Duration::from_secs(seconds));
            advance(Duration::from_secs(seconds)).await;
            let trial = breaker.enter().unwrap();
            assert!(breaker.ready().is_err() && breaker.enter().is_err());
            assert!(trial.failed());
        }
        advance(Duration::from_secs(60)).await;
        // A trial whose caller went away makes room for the next.
        drop(breaker.enter().unwrap());
        // One that hangs does so as well.
        let hung = breaker.enter().unwrap();
        advance(Duration::from_secs(60)).await;
        let mut trial = breaker.enter().unwrap();
        trial.answered();
        assert!(breaker.ready().is_ok() && breaker.until.load(Ordering::Acquire) == 0);
        trial.good();
        drop(hung);
        fail(&breaker, MAX_FAILURES);
        assert_eq!(breaker.ready().unwrap_err(), FIRST_OPEN);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_out_already_do_not_open_it_again() {
        let breaker = breaker();
        let late: Vec<Entry> = (0..20).map(|_| breaker.enter().unwrap()).collect();
        fail(&breaker, MAX_FAILURES);
        advance(Duration::from_secs(5)).await;
        assert!(late.into_iter().all(|entry| !entry.failed()));
        assert_eq!(breaker.ready().unwrap_err(), Duration::from_secs(5));
        advance(Duration::from_secs(5)).await;
        breaker.enter().unwrap().good();
        assert!(breaker.ready().is_ok());
    }
}
