//! Turns at a tool's folder: calls that write to it run one after the other, so that each sees the files of the one
//! before. They wait here for a bounded time, before anything is sent to a worker. A conflict with another controller is
//! detected when the folder is saved.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{OrganizationId, Problem};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest wait of a call for those before it.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The most calls that wait for one folder.
const MAX_WAITING: usize = 64;

type Key = (OrganizationId, String);

/// The lines of calls for folders.
#[derive(Default)]
pub(crate) struct Turns {
    /// Only folders that a call has or waits for.
    folders: Arc<Mutex<HashMap<Key, Line>>>,
}

struct Line {
    place: Arc<Semaphore>,
    calls: usize,
}

/// A call's place in a line, until it is dropped.
struct InLine {
    folders: Arc<Mutex<HashMap<Key, Line>>>,
    key: Key,
}

/// A call's turn: no other call in this process has the folder.
pub(crate) struct Turn {
    _place: OwnedSemaphorePermit,
    _in_line: InLine,
}

impl Turns {
    /// Waits for a tool's folder, at most for `wall`, the time of the call itself.
    ///
    /// # Errors
    /// [`Problem::overloaded`] if too many calls wait already, or the wait is too long.
    pub(crate) async fn take(
        &self,
        organization: &OrganizationId,
        tool: &str,
        wall: Duration,
    ) -> Result<Turn, Problem> {
        let (place, in_line) = self.queue((organization.clone(), tool.to_owned()))?;
        let longest = MAX_WAIT.min(wall);
        match tokio::time::timeout(longest, place.acquire_owned()).await {
            Ok(Ok(place)) => Ok(Turn { _place: place, _in_line: in_line }),
            _ => Err(Problem::overloaded(format!(
                "The tool {tool:?} has a folder of its own, so that its calls come one after the other; those before \
                 this one took more than {} ms.",
                longest.as_millis()
            ))),
        }
    }

    fn queue(&self, key: Key) -> Result<(Arc<Semaphore>, InLine), Problem> {
        let mut folders = self.folders.lock();
        let line = folders.entry(key.clone()).or_insert_with(|| Line { place: Arc::new(Semaphore::new(1)), calls: 0 });
        if line.calls > MAX_WAITING {
            let detail = format!("{MAX_WAITING} calls wait for the folder of the tool {:?} already.", key.1);
            return Err(Problem::overloaded(detail));
        }
        line.calls += 1;
        Ok((Arc::clone(&line.place), InLine { folders: Arc::clone(&self.folders), key }))
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut folders = self.folders.lock();
        if let Some(line) = folders.get_mut(&self.key) {
            line.calls = line.calls.saturating_sub(1);
            if line.calls == 0 {
                folders.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_and_not_for_ever() {
        let (turns, organization) = (Turns::default(), OrganizationId::default_organization());
        let take = |tool: &'static str, ms| turns.take(&organization, tool, Duration::from_millis(ms));
        let first = take("a", 1_000).await.unwrap();
        let elsewhere = take("b", 1_000).await.unwrap();
        let late = take("a", 50).await.err().unwrap();
        assert!(late.kind() == "overloaded" && late.detail.contains("50 ms"), "{late:?}");
        let (second, ()) = tokio::join!(take("a", 1_000), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(first);
        });
        let second = second.unwrap();
        let waiting: Vec<_> =
            (0..MAX_WAITING).map(|_| turns.queue((organization.clone(), "a".to_owned())).unwrap()).collect();
        assert_eq!(take("a", 1_000).await.err().unwrap().kind(), "overloaded");
        drop((waiting, second, elsewhere));
        assert!(turns.folders.lock().is_empty());
        take("a", 1_000).await.unwrap();
    }
}
