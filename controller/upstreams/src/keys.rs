//! The keys of an upstream, in turn. One that the upstream refuses, or that has asked too much, rests for a while. A few
//! atomic numbers, no lock.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aws_credential_types::Credentials;
use http::{HeaderName, HeaderValue};

use crate::breaker::Clock;
use crate::google::Google;

/// The rest after a 429 without `retry-after`, and the longest one.
const USUAL_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// The longest rest of a key while no other one is ready.
const LAST_REST: Duration = Duration::from_secs(2);
/// The rest after a refusal of the key itself.
const REFUSED_REST: Duration = Duration::from_secs(60);

/// The way in which a key goes into a request.
pub(crate) enum Use {
    /// As a header.
    Header(HeaderName, HeaderValue),
    /// As a signature of Amazon's.
    Aws(Credentials),
    /// As a token that it is exchanged for.
    Google(Box<Google>),
}

/// One key.
pub(crate) struct Key {
    /// Its place in the settings, from 1 on.
    pub(crate) number: usize,
    pub(crate) by: Use,
    /// The time up to which it rests.
    rests_until: AtomicU64,
    /// It rests because it has asked too much.
    limited: AtomicBool,
}

/// All keys.
pub(crate) struct Keys {
    clock: Clock,
    keys: Vec<Key>,
    turn: AtomicUsize,
}

impl Keys {
    pub(crate) fn new(clock: Clock, keys: Vec<Use>) -> Self {
        let key =
            |(at, by)| Key { number: at + 1, by, rests_until: AtomicU64::new(0), limited: AtomicBool::new(false) };
        Self { clock, keys: keys.into_iter().enumerate().map(key).collect(), turn: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> &[Key] {
        &self.keys
    }

    fn ready_after(&self, key: &Key, now: u64) -> u64 {
        key.rests_until.load(Ordering::Acquire).saturating_sub(now)
    }

    /// The shortest wait for a key, if all of them rest.
    pub(crate) fn ready(&self) -> Result<(), Duration> {
        let now = self.clock.now();
        match self.keys.iter().map(|key| self.ready_after(key, now)).min() {
            None | Some(0) => Ok(()),
            Some(wait) => Err(Duration::from_millis(wait)),
        }
    }

    /// The key whose turn it is, of those that do not rest. `Ok(None)`: the upstream needs no key.
    pub(crate) fn next(&self) -> Result<Option<&Key>, Duration> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let (now, turn) = (self.clock.now(), self.turn.fetch_add(1, Ordering::Relaxed));
        let mut in_turn =
            (0..self.keys.len()).filter_map(|step| self.keys.get(turn.wrapping_add(step) % self.keys.len()));
        match in_turn.find(|key| self.ready_after(key, now) == 0) {
            Some(key) => Ok(Some(key)),
            None => Err(self.ready().err().unwrap_or_default()),
        }
    }

    /// True if a key that rests has asked too much. The others were refused.
    pub(crate) fn limited(&self) -> bool {
        let now = self.clock.now();
        self.keys.iter().any(|key| key.limited.load(Ordering::Relaxed) && self.ready_after(key, now) > 0)
    }

    fn rest(&self, key: &Key, time: Duration) {
        let until = self.clock.now() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        key.rests_until.fetch_max(until, Ordering::AcqRel);
    }

    /// The upstream has answered a call with this key. True: it refuses the key, which is worth a warning.
    pub(crate) fn answered(&self, key: &Key, status: u16, retry_after: Option<Duration>) -> bool {
        if matches!(status, 401 | 403 | 429) {
            key.limited.store(status == 429, Ordering::Relaxed);
        }
        match status {
            // What one caller asked for may be too much where others' calls are not: the last key rests for a moment only.
            429 if !self.others_ready(key) => self.rest(key, retry_after.unwrap_or(USUAL_REST).min(LAST_REST)),
            429 => self.rest(key, retry_after.unwrap_or(USUAL_REST).min(LONGEST_REST)),
            401 if !self.others_ready(key) => self.rest(key, LAST_REST),
            401 => self.rest(key, REFUSED_REST),
            // Often it is the model that the key may not use, so a caller could make the last key rest for all others.
            403 if self.others_ready(key) => self.rest(key, REFUSED_REST),
            _ => {}
        }
        matches!(status, 401 | 403)
    }

    fn others_ready(&self, key: &Key) -> bool {
        let now = self.clock.now();
        self.keys.iter().any(|other| other.number != key.number && self.ready_after(other, now) == 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn keys(count: usize) -> Keys {
        let header = || Use::Header(http::header::AUTHORIZATION, HeaderValue::from_static("x"));
        Keys::new(Clock::new(), (0..count).map(|_| header()).collect())
    }

    fn numbers(keys: &Keys, count: usize) -> Vec<usize> {
        (0..count).map(|_| keys.next().unwrap().unwrap().number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn keys_take_turns_and_rest() {
        let keys = keys(3);
        assert_eq!(numbers(&keys, 4), [1, 2, 3, 1]);
        let [first, second, third] = keys.all() else { panic!() };
        for (key, status, retry_after, rest) in
            [(first, 429, None, 5), (second, 429, Some(7), 7), (third, 429, Some(600), 2)]
        {
            assert!(!keys.answered(key, status, retry_after.map(Duration::from_secs)));
            assert_eq!(keys.ready_after(key, keys.clock.now()), rest * 1_000);
        }
        // The last one rests for a moment only.
        assert_eq!(keys.ready().unwrap_err(), Duration::from_secs(2));
        assert_eq!(keys.next().map(|_| ()).unwrap_err(), Duration::from_secs(2));
        let ready = || {
            let mut found = numbers(&keys, 6);
            found.sort_unstable();
            found.dedup();
            found
        };
        advance(Duration::from_secs(5)).await;
        assert_eq!(ready(), [1, 3]);
        // A shorter rest does not end a longer one.
        keys.answered(second, 429, Some(Duration::ZERO));
        assert_eq!(ready(), [1, 3]);
        advance(Duration::from_secs(2)).await;
        assert_eq!(ready(), [1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_rests_and_the_last_one_is_not_taken_away_by_a_403() {
        let keys = keys(2);
        let [first, second] = keys.all() else { panic!() };
        assert!(keys.answered(first, 403, None) && keys.answered(second, 403, None));
        assert_eq!(numbers(&keys, 2), [2, 2]);
        assert!(keys.answered(second, 401, None));
        assert_eq!(keys.ready().unwrap_err(), LAST_REST);
        for status in [200, 400, 404, 500, 529] {
            assert!(!keys.answered(second, status, None));
        }
        let none = super::tests::keys(0);
        assert!(none.ready().is_ok() && none.next().unwrap().is_none());
    }
}
