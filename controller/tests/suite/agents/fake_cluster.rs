//! A cluster that does what the test says, and notices what must never happen.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cofferdam_contract::FailureReason;
use cofferdam_controller::agents::Clusters;
use cofferdam_controller::cluster::{
    AnyCluster, Cluster, ClusterError, Failure, Lines, PodName, Seen, Workload, WorkloadId,
};
use cofferdam_controller::environments::Environment;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

/// What an image does once it is applied.
#[derive(Debug, Clone)]
pub enum Does {
    /// It is ready at once, or after that time.
    Ready(Duration),
    /// It never is.
    Waits,
    /// It fails at once.
    Fails(FailureReason),
    /// It is ready, and fails after that time.
    Crashes(Duration),
}

#[derive(Debug, Clone)]
pub struct Placed {
    pub workload: Workload,
    pub at: Instant,
    pub does: Does,
}

#[derive(Default)]
pub struct State {
    pub there: BTreeMap<WorkloadId, Placed>,
    /// By image.
    pub does: HashMap<String, Does>,
    /// What every call answers; fine where there is none.
    pub answer: Option<fn() -> ClusterError>,
    /// Calls in their order.
    pub calls: Vec<String>,
    /// Rules that were broken.
    pub broken: Vec<String>,
    /// The call at which the driver is to be stopped: before (even) and after (odd) the effect of the half of it.
    pub stop_at: Option<usize>,
    points: usize,
    /// Agents of which something must always be ready, once it was.
    pub serves: bool,
    /// Time that each call takes.
    pub slow: Duration,
}

#[derive(Default)]
pub struct FakeCluster {
    pub state: Mutex<State>,
    /// Told when `stop_at` is reached; the call never ends then.
    pub reached: Notify,
}

pub fn failure(reason: FailureReason) -> Failure {
    Failure {
        reason,
        detail: "It ended with status 3.".into(),
        exit_code: Some(3),
        restarts: 0,
        last_lines: vec!["starting".into(), "the token is hush-hush-token".into(), "Traceback: boom".into()],
    }
}

impl Placed {
    fn seen(&self, id: &WorkloadId) -> Seen {
        let ready =
            |since: Duration| Seen::Ready { pod: format!("pod-v{}", id.version), for_s: since.as_secs(), restarts: 0 };
        let age = self.at.elapsed();
        match &self.does {
            Does::Ready(after) if age >= *after => ready(age - *after),
            Does::Ready(_) | Does::Waits => Seen::Starting { waits_for: "the image is pulled".into() },
            Does::Fails(reason) => Seen::Failed(failure(*reason)),
            Does::Crashes(after) if age < *after => ready(age),
            Does::Crashes(_) => Seen::Failed(failure(FailureReason::Exited)),
        }
    }
}

impl FakeCluster {
    /// One half of a call: does the driver get any further?
    async fn point(&self) {
        let stops = {
            let mut state = self.state.lock().unwrap();
            state.points += 1;
            state.stop_at == Some(state.points)
        };
        if stops {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn begin(&self, what: String) -> Result<(), ClusterError> {
        self.point().await;
        let (slow, answer) = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(what);
            (state.slow, state.answer)
        };
        if slow > Duration::ZERO {
            tokio::time::sleep(slow).await;
        }
        answer.map_or(Ok(()), |answer| Err(answer()))
    }

    pub fn does(&self, image: &str, does: Does) {
        self.state.lock().unwrap().does.insert(image.to_owned(), does);
    }

    pub fn answer(&self, answer: Option<fn() -> ClusterError>) {
        self.state.lock().unwrap().answer = answer;
    }

    /// Versions that are there.
    pub fn versions(&self) -> Vec<u64> {
        self.state.lock().unwrap().there.keys().map(|id| id.version).collect()
    }

    pub fn calls(&self, part: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| call.contains(part)).count()
    }

    /// Somebody deletes it by hand.
    pub fn delete(&self, version: u64) {
        self.state.lock().unwrap().there.retain(|id, _| id.version != version);
    }

    /// How many points were passed.
    pub fn points(&self) -> usize {
        self.state.lock().unwrap().points
    }

    pub fn workload(&self, version: u64) -> Option<Workload> {
        let state = self.state.lock().unwrap();
        state.there.values().find(|placed| placed.workload.id.version == version).map(|placed| placed.workload.clone())
    }
}

impl Cluster for FakeCluster {
    fn apply<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            self.begin(format!("apply v{}", workload.id.version)).await?;
            {
                let mut state = self.state.lock().unwrap();
                let does = state.does.get(&workload.image).cloned().unwrap_or(Does::Ready(Duration::ZERO));
                let placed = || Placed { workload: workload.clone(), at: Instant::now(), does };
                state.there.entry(workload.id.clone()).or_insert_with(placed);
            }
            self.point().await;
            Ok(())
        })
    }

    fn see<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>> {
        Box::pin(async move {
            self.begin(format!("see v{}", id.version)).await?;
            let state = self.state.lock().unwrap();
            Ok(state.there.get(id).map_or(Seen::Gone, |placed| placed.seen(id)))
        })
    }

    fn remove<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            self.begin(format!("remove v{}", id.version)).await?;
            {
                let mut state = self.state.lock().unwrap();
                let ready = |placed: &Placed, id: &WorkloadId| matches!(placed.seen(id), Seen::Ready { .. });
                let was = state.there.get(id).is_some_and(|placed| ready(placed, id));
                let others = state
                    .there
                    .iter()
                    .any(|(other, placed)| other != id && other.agent == id.agent && ready(placed, other));
                if state.serves && was && !others {
                    let broken = format!("v{} was taken away with nothing ready beside it", id.version);
                    state.broken.push(broken);
                }
                state.there.remove(id);
            }
            self.point().await;
            Ok(())
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>> {
        Box::pin(async move {
            let state = self.state.lock().unwrap();
            match state.answer {
                Some(answer) => Err(answer()),
                None => Ok(state.there.keys().cloned().collect()),
            }
        })
    }

    fn pods<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>> {
        Box::pin(async { Ok(vec![]) })
    }

    fn logs<'a>(&'a self, _: &'a PodName, _: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        Box::pin(async { Err(ClusterError::None("the tests' cluster has no logs".into())) })
    }
}

/// Clusters by the environment's name; `local`'s where there is no other.
#[derive(Default)]
pub struct FakeClusters {
    pub local: Arc<FakeCluster>,
    pub others: Mutex<HashMap<String, Arc<FakeCluster>>>,
    pub connects: Mutex<usize>,
}

impl Clusters for FakeClusters {
    fn connect<'a>(&'a self, environment: &'a Environment) -> BoxFuture<'a, Result<AnyCluster, ClusterError>> {
        Box::pin(async move {
            *self.connects.lock().unwrap() += 1;
            let other = self.others.lock().unwrap().get(&environment.name).cloned();
            Ok(other.unwrap_or_else(|| Arc::clone(&self.local)) as AnyCluster)
        })
    }

    fn check(&self, kubeconfig: &str, _: Option<&str>) -> Result<(), ClusterError> {
        if kubeconfig.contains("clusters") { Ok(()) } else { Err(ClusterError::Settings("names no clusters".into())) }
    }
}
