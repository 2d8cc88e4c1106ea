//! The fake cluster of all suites. Tests control it, and it records broken rules. Use [`FakeCluster::does`] for
//! container agents, [`FakeCluster::pod`] for their logs.

mod pods;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cofferdam_cluster::{
    AnyCluster, Cluster, ClusterError, Clusters, Finding, HeldBy, KubernetesClusters, Lines, Mended, Options, Place,
    PodName, Seen, Workload, WorkloadFailure, WorkloadId,
};
use cofferdam_contract::{AgentId, FailureReason, OrganizationId};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

pub use pods::FakePod;

/// The behaviour of an image after it is applied.
#[derive(Debug, Clone)]
pub enum Does {
    /// Ready after that time.
    Ready(Duration),
    /// Never ready.
    Waits,
    /// Fails at once.
    Fails(FailureReason),
    /// Ready at once, fails after that time.
    Crashes(Duration),
    /// Shows each of these states, in their order, from that time on.
    Shows(Vec<(Duration, Seen)>),
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
    /// The error of every call; `None` lets calls succeed.
    pub answer: Option<fn() -> ClusterError>,
    /// Container runtimes of its nodes.
    pub runtimes: Vec<String>,
    /// Kinds of objects that were deleted by hand, to be restored.
    pub missing: Vec<&'static str>,
    /// Calls in their order.
    pub calls: Vec<String>,
    /// Rules that were broken.
    pub broken: Vec<String>,
    /// Stops the driver at this point: call number half of it, before (even) or after (odd) its effect.
    pub stop_at: Option<usize>,
    points: usize,
    /// Agents that must stay ready once they were.
    pub serves: bool,
    /// The time that each call takes.
    pub slow: Duration,
}

#[derive(Default)]
pub struct FakeCluster {
    pub state: Mutex<State>,
    /// Notified when `stop_at` is reached; that call never returns.
    pub reached: Notify,
    pods: Mutex<Vec<Arc<FakePod>>>,
    /// Runs whose names give the log of another run.
    given: Mutex<Vec<(PodName, Arc<FakePod>)>>,
    /// Open log streams.
    pub streams: Arc<AtomicUsize>,
}

pub fn failure(reason: FailureReason) -> WorkloadFailure {
    WorkloadFailure {
        reason,
        detail: "It ended with status 3.".into(),
        exit_code: Some(3),
        restarts: 0,
        end: String::new(),
        last_lines: vec!["starting".into(), "the token is hush-hush-token".into(), "Traceback: boom".into()],
    }
}

/// A workload that is not ready.
pub fn waiting(waits_for: &str, held_by: HeldBy) -> Seen {
    Seen::Starting { waits_for: waits_for.into(), held_by }
}

/// A workload that is ready, in a pod that was restarted this often.
pub fn ready(for_s: u64, restarts: u32) -> Seen {
    Seen::Ready { pod: "pod-x".into(), for_s, restarts }
}

/// A container that ended for the n-th time, and what it does now.
pub fn crashed(reason: FailureReason, number: u32, now: Seen) -> Seen {
    let failure = WorkloadFailure { restarts: number, end: format!("pod-x/{number}"), ..failure(reason) };
    Seen::Crashed { failure, now: Box::new(now) }
}

impl Placed {
    fn seen(&self, id: &WorkloadId) -> Seen {
        let ready =
            |since: Duration| Seen::Ready { pod: format!("pod-v{}", id.version), for_s: since.as_secs(), restarts: 0 };
        let age = self.at.elapsed();
        match &self.does {
            Does::Ready(after) if age >= *after => ready(age - *after),
            Does::Ready(_) | Does::Waits => waiting("the image is being pulled", HeldBy::Itself),
            Does::Fails(reason) => Seen::Failed(failure(*reason)),
            Does::Crashes(after) if age < *after => ready(age),
            Does::Crashes(_) => Seen::Failed(failure(FailureReason::Exited)),
            Does::Shows(states) => {
                let shown = states.iter().rev().find(|(from, _)| *from <= age);
                shown.map_or_else(|| waiting("nothing is shown yet", HeldBy::Itself), |(_, seen)| seen.clone())
            }
        }
    }
}

/// The identity of a version of an agent of the default organization.
pub fn workload(agent: &str, version: u64) -> WorkloadId {
    let organization = OrganizationId::default_organization();
    WorkloadId { organization, agent: AgentId::parse(agent).unwrap(), version }
}

impl FakeCluster {
    /// The cluster for the test, and the same one for the code under test.
    pub fn pair() -> (Arc<Self>, AnyCluster) {
        let cluster = Arc::new(Self::default());
        (Arc::clone(&cluster), cluster)
    }

    /// Counts one half of a call, and stops the driver at `stop_at`.
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

    /// Existing versions.
    pub fn versions(&self) -> Vec<u64> {
        self.state.lock().unwrap().there.keys().map(|id| id.version).collect()
    }

    pub fn calls(&self, part: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| call.contains(part)).count()
    }

    /// Deletes it behind the driver's back.
    pub fn delete(&self, version: u64) {
        self.state.lock().unwrap().there.retain(|id, _| id.version != version);
    }

    /// The number of points passed.
    pub fn points(&self) -> usize {
        self.state.lock().unwrap().points
    }

    /// Adds a pod of a workload, whose log the test writes.
    pub fn pod(&self, workload: &WorkloadId, pod: &str, restarts: u32) -> Arc<FakePod> {
        let name = PodName { workload: workload.clone(), pod: pod.to_owned(), restarts };
        let pod = FakePod::new(name, &self.streams);
        self.pods.lock().unwrap().push(Arc::clone(&pod));
        pod
    }

    /// Gives the log of `other` under the name of `run`, too, as a kubelet does whose pod waits to be restarted.
    pub fn gives(&self, run: &FakePod, other: &Arc<FakePod>) {
        self.given.lock().unwrap().push((run.name.clone(), Arc::clone(other)));
    }

    pub fn remove_pods(&self, workload: &WorkloadId) {
        self.pods.lock().unwrap().retain(|pod| pod.name.workload != *workload);
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

    fn mend<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<Vec<Mended>, ClusterError>> {
        Box::pin(async move {
            self.begin(format!("mend v{}", workload.id.version)).await?;
            let missing = std::mem::take(&mut self.state.lock().unwrap().missing);
            Ok(missing.into_iter().map(|kind| Mended { kind, was_missing: true }).collect())
        })
    }

    fn see<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>> {
        Box::pin(async move {
            self.begin(format!("see v{}", id.version)).await?;
            let state = self.state.lock().unwrap();
            Ok(state.there.get(id).map_or(Seen::Gone, |placed| placed.seen(id)))
        })
    }

    fn survey(&self) -> BoxFuture<'_, Result<Vec<(WorkloadId, Seen)>, ClusterError>> {
        Box::pin(async move {
            let (slow, answer) = {
                let mut state = self.state.lock().unwrap();
                state.calls.push("survey".to_owned());
                (state.slow, state.answer)
            };
            if slow > Duration::ZERO {
                tokio::time::sleep(slow).await;
            }
            if let Some(answer) = answer {
                return Err(answer());
            }
            let state = self.state.lock().unwrap();
            let seen = state.there.iter().map(|(id, placed)| (id.clone(), placed.seen(id)));
            let is_ready = |seen: &Seen| match seen {
                Seen::Ready { .. } => true,
                Seen::Crashed { now, .. } => matches!(**now, Seen::Ready { .. }),
                Seen::Starting { .. } | Seen::Failed(_) | Seen::Gone => false,
            };
            Ok(seen.filter(|(_, seen)| is_ready(seen)).collect())
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

    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>, ClusterError>> {
        Box::pin(async move {
            self.begin("check".to_owned()).await?;
            Ok(vec![Finding { about: "cluster".into(), good: true, detail: "It answers.".into() }])
        })
    }

    fn runtimes(&self) -> BoxFuture<'_, Result<Vec<String>, ClusterError>> {
        let state = self.state.lock().unwrap();
        let runtimes = state.answer.map_or_else(|| Ok(state.runtimes.clone()), |answer| Err(answer()));
        Box::pin(async { runtimes })
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

    fn pods<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>> {
        let pods = self.pods.lock().unwrap();
        let found = pods.iter().filter(|pod| pod.name.workload == *id).map(|pod| pod.name.clone()).collect();
        Box::pin(async move { Ok(found) })
    }

    fn logs<'a>(&'a self, pod: &'a PodName, since: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        let given = self.given.lock().unwrap().iter().find(|(name, _)| name == pod).map(|(_, other)| Arc::clone(other));
        let found = given.or_else(|| self.pods.lock().unwrap().iter().find(|one| one.name == *pod).cloned());
        let lines = found.map(|pod| pod.stream(since));
        Box::pin(async move { lines.ok_or_else(|| ClusterError::Refused("there is no such pod".into())) })
    }
}

/// Clusters by namespace; `local` for all others.
#[derive(Default)]
pub struct FakeClusters {
    pub local: Arc<FakeCluster>,
    pub others: Mutex<HashMap<String, Arc<FakeCluster>>>,
    pub connects: Mutex<usize>,
}

impl Clusters for FakeClusters {
    fn connect(&self, place: &Place<'_>) -> Result<AnyCluster, ClusterError> {
        *self.connects.lock().unwrap() += 1;
        let other = self.others.lock().unwrap().get(place.namespace).cloned();
        Ok(other.unwrap_or_else(|| Arc::clone(&self.local)) as AnyCluster)
    }

    fn manifests(&self, namespace: &str, workload: &Workload) -> Result<Vec<serde_json::Value>, ClusterError> {
        KubernetesClusters::new(Options::default()).manifests(namespace, workload)
    }

    fn check_kubeconfig(&self, kubeconfig: &str, _: Option<&str>) -> Result<(), ClusterError> {
        if kubeconfig.contains("clusters") { Ok(()) } else { Err(ClusterError::Settings("names no clusters".into())) }
    }
}
