//! Admits a bounded number of concurrent runs, lets a bounded number wait, and refuses the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_contract::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The gate before the runs.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    total: usize,
    waiting: AtomicUsize,
    max_waiting: usize,
}

/// Counts a waiter while it lives, so that one that gives up is no longer counted.
struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(total: usize, max_waiting: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(total)), total, waiting: AtomicUsize::new(0), max_waiting }
    }

    /// A permit, at once or in turn. `overloaded` if too many are waiting.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiter = Waiter(&self.waiting);
        if waiting >= self.max_waiting {
            return Err(Problem::overloaded(format!(
                "{} runs are in progress and {waiting} are waiting; try again in a second",
                self.total
            )));
        }
        Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| Problem::unavailable("the worker is shutting down; try again"))
    }

    /// Admits no more requests.
    pub(crate) fn close(&self) {
        self.places.close();
    }

    /// The numbers of runs in progress and waiting.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.total.saturating_sub(self.places.available_permits()), self.waiting.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_given_back() {
        let gate = Arc::new(Admission::new(1, 1));
        let first = gate.enter().await.unwrap();
        let waiter = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter().await.map(drop) }
        });
        while gate.load().1 == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.enter().await.unwrap_err().kind(), "overloaded");
        drop(first);
        waiter.await.unwrap().unwrap();
        let gone = gate.enter();
        drop(gone);
        assert_eq!(gate.load(), (0, 0));
        gate.close();
        assert_eq!(gate.enter().await.unwrap_err().kind(), "unavailable");
    }
}
