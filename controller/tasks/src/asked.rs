//! Requests of people about running tasks: stop or pause. A wake-up says that there is something, and a poll is the net under it.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_cache::{Topic, Wake};
use cofferdam_contract::TaskId;
use cofferdam_core::{chain, every};
use cofferdam_store::Asked;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Tasks;
use crate::worker::SharedHeld;

/// The tasks that somebody runs in this process.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<HashMap<TaskId, watch::Sender<Option<Asked>>>>);

/// A request about one running task. Whoever runs a task holds it from the hand-out to the last step: a task whose runner drops it
/// without a last step goes back to the queue, or ends as a dead letter if the runner panicked.
#[derive(Debug)]
pub struct AskedOf {
    watched: Arc<Watched>,
    held: SharedHeld,
    task: TaskId,
    asked: watch::Receiver<Option<Asked>>,
}

impl AskedOf {
    /// The request as it is now.
    pub fn now(&self) -> Option<Asked> {
        *self.asked.borrow()
    }

    /// Waits until something is asked. Safe to drop while it waits.
    pub async fn wait(&mut self) -> Asked {
        match self.asked.wait_for(Option::is_some).await.map(|asked| *asked) {
            Ok(Some(asked)) => asked,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for AskedOf {
    fn drop(&mut self) {
        let mut watched = self.watched.0.lock();
        // This one's receiver still counts.
        if watched.get(&self.task).is_some_and(|asked| asked.receiver_count() <= 1) {
            watched.remove(&self.task);
            self.held.left(&self.task, std::thread::panicking());
        }
    }
}

impl Tasks {
    /// Watches what is asked of a task that this process runs, until its last step.
    pub fn asked(&self, task: &TaskId) -> AskedOf {
        let mut watched = self.watched.0.lock();
        let asked = watched.entry(task.clone()).or_insert_with(|| watch::Sender::new(None)).subscribe();
        drop(watched);
        AskedOf { watched: Arc::clone(&self.watched), held: Arc::clone(&self.held), task: task.clone(), asked }
    }

    /// Looks for what is asked of running tasks, until it is stopped.
    pub async fn keep_asked(self: Arc<Self>, stop: CancellationToken) {
        let mut wakes = self.bus.subscribe(Topic::Task);
        let mut polls = every(self.config.poll_interval);
        loop {
            tokio::select! {
                wake = wakes.next() => {
                    let mut about_ours = self.is_about_ours(&wake);
                    while let Some(wake) = wakes.try_next() {
                        about_ours |= self.is_about_ours(&wake);
                    }
                    if !about_ours {
                        continue;
                    }
                }
                _ = polls.tick() => {
                    self.settle_left().await;
                    if self.watched.0.lock().is_empty() {
                        continue;
                    }
                }
                () = stop.cancelled() => return,
            }
            self.look_what_is_asked().await;
        }
    }

    fn is_about_ours(&self, wake: &Wake) -> bool {
        match wake {
            Wake::Message(task) => std::str::from_utf8(task)
                .ok()
                .and_then(|task| TaskId::parse(task).ok())
                .is_some_and(|task| self.watched.0.lock().contains_key(&task)),
            Wake::Missed => true,
        }
    }

    async fn look_what_is_asked(&self) {
        let mut asked = HashMap::new();
        for worker in self.slots.workers() {
            match self.store.asked_of(&worker.id).await {
                Ok(found) => asked.extend(found),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "what is asked of tasks could not be read");
                    return;
                }
            }
        }
        for (task, watch) in self.watched.0.lock().iter() {
            let now = asked.get(task).copied();
            watch.send_if_modified(|known| std::mem::replace(known, now) != now);
        }
    }
}
