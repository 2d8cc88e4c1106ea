//! Bounds on time that hold on a slow or busy machine: those of a test case are for the machine that the cases were
//! written on, and are multiplied with how much slower this one is at the moment.

use std::time::{Duration, Instant};

/// The time of [`work`] on that machine when it is idle.
const REFERENCE: Duration = Duration::from_millis(46);
/// A machine that is slower than this fails, whatever the reason.
const MAX_FACTOR: f64 = 10.0;

/// A fixed number of steps that the compiler can neither leave out nor turn into fewer.
fn work() -> Duration {
    let started = Instant::now();
    let mut state = 1_u64;
    for step in 0..10_000_000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
        state ^= state >> 29;
    }
    std::hint::black_box(state);
    started.elapsed()
}

/// How many times slower than the reference this machine is now: 1 to 10.
pub fn factor() -> f64 {
    let mut times = [work(), work(), work()];
    times.sort_unstable();
    (times[1].as_secs_f64() / REFERENCE.as_secs_f64()).clamp(1.0, MAX_FACTOR)
}

/// Whether something that took `took` was within `bound` on a machine as slow as this one is. Measures the machine only
/// when the bound was passed.
pub fn within(took: Duration, bound: Duration) -> bool {
    took <= bound || took <= bound.mul_f64(factor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_never_stretched_without_end() {
        assert!((1.0..=MAX_FACTOR).contains(&factor()));
        assert!(within(Duration::from_millis(1), Duration::from_millis(1)));
        assert!(!within(Duration::from_millis(11), Duration::from_millis(1)));
    }
}
