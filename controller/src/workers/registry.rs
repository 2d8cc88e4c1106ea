//! All workers, and the choice among them: the least loaded for a run without a session, the same again for a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_contract::Problem;

use super::worker::Worker;
use crate::Error;

pub struct Registry {
    workers: Vec<Arc<Worker>>,
    turn: AtomicUsize,
}

impl Registry {
    pub fn new(workers: Vec<Arc<Worker>>) -> Self {
        Self { workers, turn: AtomicUsize::new(0) }
    }

    pub fn all(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    pub fn any_ready(&self) -> bool {
        self.workers.iter().any(|worker| worker.is_ready())
    }

    /// The ready worker with the least to do, other than `except`; equals take turns.
    ///
    /// # Errors
    /// [`Problem::unavailable`] where none is ready.
    pub fn pick(&self, except: Option<&Worker>) -> Result<Arc<Worker>, Error> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        let (before, after) = self.workers.split_at(start.min(self.workers.len()));
        let ready = after.iter().chain(before).filter(|worker| worker.is_ready());
        let others = ready.filter(|worker| except.is_none_or(|except| !std::ptr::eq(except, Arc::as_ptr(worker))));
        let least = others.min_by_key(|worker| worker.active()).cloned();
        least.ok_or_else(|| Problem::unavailable("No worker is ready; see /ready.").into())
    }

    /// The worker that a session or snapshot is at.
    ///
    /// # Errors
    /// [`Problem::unavailable`] where this process does not know it.
    pub fn named(&self, name: &str) -> Result<Arc<Worker>, Error> {
        let found = self.workers.iter().find(|worker| worker.name == name).cloned();
        found.ok_or_else(|| {
            Problem::unavailable("The worker that has this session is not among the workers now.").into()
        })
    }

    /// The worker whose tag a run id carries.
    pub fn tagged(&self, tag: &str) -> Option<Arc<Worker>> {
        self.workers.iter().find(|worker| worker.tag == tag).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_contract::worker::WorkerHealth;

    fn health() -> Option<WorkerHealth> {
        Some(WorkerHealth {
            kernels: vec!["python 3.15".into()],
            runs_active: 0,
            runs_waiting: 0,
            sessions_live: 0,
            sessions_suspended: 0,
        })
    }

    #[tokio::test]
    async fn the_least_loaded_ready_worker_is_picked_and_equals_take_turns() {
        let remote = |authority: &str| {
            Worker::remote(&crate::config::RemoteWorker { authority: authority.into() }, None).unwrap()
        };
        let registry = Registry::new(vec![remote("a:1"), remote("b:1"), remote("c:1")]);
        assert!(registry.pick(None).is_err());
        registry.all()[0].set_health(health());
        registry.all()[1].set_health(health());
        let first = registry.pick(None).unwrap();
        let busy = first.enter();
        for _ in 0..4 {
            assert_ne!(registry.pick(None).unwrap().name, first.name);
        }
        drop(busy);
        let names: std::collections::BTreeSet<_> = (0..6).map(|_| registry.pick(None).unwrap().name.clone()).collect();
        assert_eq!(names.len(), 2, "equals take turns: {names:?}");
        assert_ne!(registry.pick(Some(&first)).unwrap().name, first.name);
        assert_eq!(registry.all()[0].kernel("python"), "python 3.15");
    }
}
