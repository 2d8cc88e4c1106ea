//! Work that takes a place among those that are counted: it is carried to its end also if its caller goes away, and is
//! undone then, so that no place stays taken for something that nobody knows.

use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::Error;

/// Something that was made, until the caller has it. Undone if this is dropped before.
struct Made<T, U: Future<Output = ()> + Send + 'static> {
    made: Option<T>,
    undo: Option<U>,
}

impl<T, U: Future<Output = ()> + Send + 'static> Made<T, U> {
    fn take(mut self) -> Option<T> {
        self.undo = None;
        self.made.take()
    }
}

impl<T, U: Future<Output = ()> + Send + 'static> Drop for Made<T, U> {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            tokio::spawn(undo.in_current_span());
        }
    }
}

/// Carries `work` to its end on a task of its own. `undo` runs after a success that nobody waits for any more.
///
/// # Errors
/// That of `work`, or its task ended early.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    undo: impl Future<Output = ()> + Send + 'static,
) -> Result<T, Error> {
    let (give, given) = oneshot::channel();
    let task = async move {
        let done = work.await.map(|made| Made { made: Some(made), undo: Some(undo) });
        drop(give.send(done));
    };
    tokio::spawn(task.in_current_span());
    given.await.map_err(|_| Error::BrokeOff)??.take().ok_or(Error::BrokeOff)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_caller_that_goes_away_gets_its_work_undone() {
        let (gate, undone) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let work = |fails: bool| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                if fails { Err(Error::BrokeOff) } else { Ok(5) }
            }
        };
        let undo = || {
            let undone = Arc::clone(&undone);
            async move { undone.add_permits(1) }
        };
        gate.add_permits(2);
        assert_eq!(to_the_end(work(false), undo()).await.unwrap(), 5);
        assert!(to_the_end(work(true), undo()).await.is_err());
        for fails in [true, false] {
            let gone = tokio::time::timeout(Duration::from_millis(10), to_the_end(work(fails), undo())).await;
            assert!(gone.is_err());
        }
        assert_eq!(undone.available_permits(), 0);
        gate.add_permits(2);
        tokio::time::timeout(Duration::from_secs(5), undone.acquire()).await.unwrap().unwrap().forget();
        assert_eq!(undone.available_permits(), 0, "a failure has nothing to undo");
    }
}
