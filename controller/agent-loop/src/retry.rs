//! When a call of the model is tried again: soon, within the lease; later, with the slot free meanwhile; or not any more. Pure.

use std::time::Duration;

use cofferdam_core::backoff;

use crate::parts::LoopConfig;

/// The longest wait that a provider may ask for.
pub(crate) const MAX_ASKED_WAIT: Duration = Duration::from_secs(600);
/// The longest wait of our own between two tries.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// Tries within one lease, after which the slot is given back.
const MAX_HELD_TRIES: u32 = 4;

/// The next step after a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Wait(Duration),
    Later(Duration),
    GiveUp,
}

/// Decides after try number `tried` (from 1), of which `held` were made under this lease. `jitter` is 0 to 1.
pub(crate) fn after(config: &LoopConfig, tried: u32, held: u32, asked: Option<Duration>, jitter: f64) -> Retry {
    if tried >= config.max_tries {
        return Retry::GiveUp;
    }
    let own = backoff(config.first_wait, MAX_WAIT, tried).mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0));
    let wait = asked.map_or(own, |asked| asked.max(own.min(config.first_wait)).min(MAX_ASKED_WAIT));
    match wait < config.short_wait && held < MAX_HELD_TRIES {
        true => Retry::Wait(wait),
        false => Retry::Later(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_waits_keep_the_slot_and_long_ones_do_not() {
        let config = LoopConfig::default();
        let after =
            |tried, held, asked: Option<u64>| super::after(&config, tried, held, asked.map(Duration::from_secs), 0.5);
        assert_eq!(after(1, 1, None), Retry::Wait(Duration::from_millis(500)));
        assert_eq!(after(3, 3, None), Retry::Wait(Duration::from_secs(2)));
        assert_eq!(after(4, 4, None), Retry::Later(Duration::from_secs(4)));
        assert_eq!(after(1, 1, Some(3)), Retry::Wait(Duration::from_secs(3)));
        assert_eq!(after(1, 1, Some(30)), Retry::Later(Duration::from_secs(30)));
        assert_eq!(after(8, 1, None), Retry::GiveUp);
    }
}
