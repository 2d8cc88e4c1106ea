//! All workers of snippets: the least loaded takes a run without a session, the one that has the session every other.

use std::sync::Arc;

use cofferdam_contract::Problem;

use crate::Error;
use crate::load::Balanced;
use crate::worker::Worker;

/// All workers of snippets.
pub struct Workers(Balanced<Worker>);

impl Workers {
    pub fn new(workers: Vec<Arc<Worker>>) -> Self {
        Self(Balanced::new(workers))
    }

    pub fn all(&self) -> &[Arc<Worker>] {
        self.0.all()
    }

    pub fn any_ready(&self) -> bool {
        self.all().iter().any(|worker| worker.is_ready())
    }

    /// The ready worker with the least to do, other than `except`; equals take turns.
    ///
    /// # Errors
    /// [`Problem::unavailable`] when none is ready.
    pub fn pick(&self, except: Option<&Worker>) -> Result<Arc<Worker>, Error> {
        self.0.pick(except).ok_or_else(|| Problem::unavailable("No worker is ready; see /ready.").into())
    }

    /// The worker that has a session or snapshot.
    ///
    /// # Errors
    /// [`Problem::unavailable`] when this process does not know it.
    pub fn named(&self, name: &str) -> Result<Arc<Worker>, Error> {
        let found = self.all().iter().find(|worker| worker.is_home_of(name)).cloned();
        found.ok_or_else(|| {
            Problem::unavailable("The worker that has this session is not among the workers now.").into()
        })
    }

    /// The worker whose tag a run id carries.
    pub fn tagged(&self, tag: &str) -> Option<Arc<Worker>> {
        self.all().iter().find(|worker| worker.tag() == tag).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cofferdam_contract::worker::WorkerHealth;

    use super::*;
    use crate::RemoteWorker;

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
        let remote = |authority: &str| Worker::remote(&RemoteWorker { authority: authority.into() }, None).unwrap();
        let workers = Workers::new(vec![remote("a:1"), remote("b:1"), remote("c:1")]);
        assert!(workers.pick(None).is_err());
        workers.all()[0].set_health(health());
        workers.all()[1].set_health(health());
        let first = workers.pick(None).unwrap();
        let busy = first.enter();
        for _ in 0..4 {
            assert_ne!(workers.pick(None).unwrap().name(), first.name());
        }
        drop(busy);
        let names: BTreeSet<_> = (0..6).map(|_| workers.pick(None).unwrap().name().to_owned()).collect();
        assert_eq!(names.len(), 2, "equals take turns: {names:?}");
        assert_ne!(workers.pick(Some(&first)).unwrap().name(), first.name());
        assert_eq!(workers.all()[0].kernel("python"), "python 3.15");
    }
}
