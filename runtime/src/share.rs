//! Shares short work of one call with idle processors. The calling thread always works too, so a busy machine only loses
//! the help.
//!
//! Never queues work that the caller does not wait for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads that help. They sleep while there is nothing to do.
const HELPERS: usize = 4;

/// The helpers; `None` if the system allows no more threads. They are started at the first use, after the worker has
/// confined itself, and inherit its confinement.
fn helpers() -> Option<&'static ThreadPool> {
    static HELPING: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let build = || {
        let pool = ThreadPoolBuilder::new().num_threads(HELPERS).thread_name(|n| format!("helper-{n}")).build();
        pool.inspect_err(|error| tracing::warn!(%error, "no threads to share work with")).ok()
    };
    HELPING.get_or_init(build).as_ref()
}

/// Does two things, at the same time if a helper is free.
pub(crate) fn both<A: Send, B>(shared: impl Fn() -> A + Sync, own: impl FnOnce() -> B) -> (A, B) {
    let Some(helpers) = helpers() else { return (shared(), own()) };
    let taken = AtomicBool::new(false);
    let take = || (!taken.swap(true, Ordering::AcqRel)).then(&shared);
    let mut helped = None;
    let (own, mine) = helpers.in_place_scope(|scope| {
        let helped = &mut helped;
        scope.spawn(|_| *helped = take());
        (own(), take())
    });
    // The scope waits for the helper, and passes its panic on, so one of the two has the result.
    (mine.or(helped).unwrap_or_else(shared), own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_callers_at_once_all_get_their_own_results() {
        std::thread::scope(|scope| {
            for n in 0..32 {
                scope.spawn(move || {
                    for at in 0..50 {
                        assert_eq!(both(|| n * 1_000 + at, || n), (n * 1_000 + at, n));
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_of_shared_work_reaches_the_caller() {
        let caught = std::panic::catch_unwind(|| both(|| panic!("broken"), || 7));
        assert!(caught.is_err());
        assert_eq!(both(|| 1, || 2), (1, 2), "the helpers go on");
    }
}
