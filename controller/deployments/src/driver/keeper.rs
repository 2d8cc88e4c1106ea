//! One agent's keeper: plans, begins the steps that are due, waits. Steps of different deployments run concurrently; a
//! deployment never has two steps under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::{backoff, chain};
use cofferdam_store::{AgentRow, DeploymentRow};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::Key;
use super::context::Context;
use super::mending::Mending;
use super::plan::{Action, plan};
use super::steps::{Next, Step};
use crate::Error;
use crate::metrics::Census;

/// An agent is planned again after this time, whatever happens.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// The initial and the longest wait after an internal failure.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(30);
/// The time that removing a deleted agent's log may take.
const FORGET_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Keeper {
    context: Arc<Context>,
    key: Key,
    wake: Arc<Notify>,
    /// Steps under way.
    busy: JoinSet<Result<Next, Error>>,
    /// The deployment of each step.
    numbers: HashMap<Id, u64>,
    known: HashMap<u64, Known>,
    census: Census,
}

/// State of a deployment between two steps. A new keeper starts without it.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The step under way.
    doing: Option<Action>,
    /// The last step that ended, and when the same step is due again.
    again: Option<(Action, Instant)>,
    errors: u32,
    /// Restorations of what was changed by hand.
    mending: Mending,
    /// Since when the cluster has not answered for it, in Unix milliseconds.
    missed_since: Option<i64>,
}

impl Known {
    /// When a step may begin. The same step is not repeated before its time.
    fn due(&self, row: &DeploymentRow, action: Action, now: Instant) -> Instant {
        let due = Step::due(row, action, now);
        match self.again {
            Some((before, at)) if before == action => due.max(at),
            Some(_) | None => due,
        }
    }
}

enum Pass {
    /// Plan again then.
    At(Instant),
    /// Nothing is left to do or to watch.
    Over,
}

impl Keeper {
    pub(super) fn new(context: Arc<Context>, key: &Key, wake: Arc<Notify>) -> Self {
        let census = context.deployments.metrics.census();
        let (busy, numbers, known) = (JoinSet::new(), HashMap::new(), HashMap::new());
        Self { context, key: key.clone(), wake, busy, numbers, known, census }
    }

    /// Runs until nothing is left to do. It may be dropped at any point.
    pub(super) async fn run(mut self) {
        let mut errors = 0;
        loop {
            let until = match self.pass().await {
                Ok(Pass::Over) => return,
                Ok(Pass::At(at)) => {
                    errors = 0;
                    at
                }
                Err(error) => {
                    tracing::warn!(agent = %self.key.1, error = %chain(&error), "an agent could not be planned");
                    errors += 1;
                    Instant::now() + backoff(FIRST_RETRY, MAX_RETRY, errors)
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
                Some(done) = self.busy.join_next_with_id() => self.done(done),
            }
        }
    }

    /// Plans, and begins the steps that are due.
    async fn pass(&mut self) -> Result<Pass, Error> {
        let context = Arc::clone(&self.context);
        let (store, owner) = (context.store(), &context.lease.owner);
        let (organization, id) = self.key.clone();
        let Some(agent) = store.agent(&organization, &id).await? else { return Ok(Pass::Over) };
        let rows = store.live_deployments(&organization, &id).await?;
        self.census.update(&rows);
        if rows.is_empty() && self.busy.is_empty() {
            if agent.wanted.deletes() {
                return self.forget().await;
            }
            store.release_agent(&organization, &id, owner).await?;
            return Ok(Pass::Over);
        }
        self.known.retain(|number, known| known.doing.is_some() || rows.iter().any(|row| row.number == *number));
        let now = Instant::now();
        if !context.lease.holds() {
            // The lease is renewed soon, or lost.
            return Ok(Pass::At(now + FIRST_RETRY));
        }
        let next = self.begin_due(&agent, &rows, now);
        // Only after the due steps have begun: nothing depends on it, and until then the driver is merely told again.
        if agent.dirty > 0 && self.busy.is_empty() {
            store.clean_agent(&organization, &id, owner, agent.dirty).await?;
        }
        Ok(Pass::At(next))
    }

    /// Begins the steps that are due. Returns when the next one may be.
    fn begin_due(&mut self, agent: &AgentRow, rows: &[DeploymentRow], now: Instant) -> Instant {
        let mut next = now + MAX_IDLE;
        for (number, action) in plan(agent, rows) {
            let Some(row) = rows.iter().find(|row| row.number == number) else { continue };
            let known = self.known.entry(number).or_default();
            if known.doing.is_some() {
                continue;
            }
            let due = known.due(row, action, now);
            if due > now {
                next = next.min(due);
                continue;
            }
            known.doing = Some(action);
            let step = Step {
                context: Arc::clone(&self.context),
                agent: agent.clone(),
                row: row.clone(),
                mending: known.mending.clone(),
                missed_since: known.missed_since,
            };
            let task = self.busy.spawn(step.run(action));
            self.numbers.insert(task.id(), number);
        }
        next
    }

    /// A step has ended; the next one is planned anew.
    fn done(&mut self, done: Result<(Id, Result<Next, Error>), JoinError>) {
        let (id, result) = match done {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(number) = self.numbers.remove(&id) else { return };
        let Some(known) = self.known.get_mut(&number) else { return };
        let Some(action) = known.doing.take() else { return };
        let wait = match result {
            Ok(Ok(next)) => {
                known.errors = 0;
                if let Some(mending) = next.mending {
                    known.mending = mending;
                }
                known.missed_since = next.missed_since;
                next.after
            }
            Ok(Err(error)) => {
                known.errors += 1;
                tracing::warn!(agent = %self.key.1, version = number, ?action, error = %chain(&error),
                    "a step of an agent failed; it is tried again");
                backoff(FIRST_RETRY, MAX_RETRY, known.errors)
            }
            Err(error) => {
                tracing::error!(agent = %self.key.1, version = number, ?action, %error,
                    "a step of an agent panicked; it is tried again");
                MAX_RETRY
            }
        };
        known.again = Some((action, Instant::now() + wait));
    }

    /// Deletes the rows and the log of an agent that is to be deleted and has nothing left in a cluster.
    async fn forget(&mut self) -> Result<Pass, Error> {
        let (organization, id) = &self.key;
        let context = &self.context;
        let change = context.store().change_agent(organization, id, Some(&context.lease.owner)).await?;
        let Some(change) = change else { return Ok(Pass::Over) };
        if !change.agent.wanted.deletes() {
            change.abandon().await?;
            return Ok(Pass::At(Instant::now()));
        }
        change.delete_agent().await?;
        // The rest of its log is deleted when it expires.
        match tokio::time::timeout(FORGET_TIMEOUT, context.logs.forget(organization, id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(agent = %id, %error, "a deleted agent's log could not be removed"),
            Err(_) => tracing::warn!(agent = %id, "a deleted agent's log could not be removed in time"),
        }
        context.deployments.announce_to_listeners(organization, id);
        tracing::info!(%organization, agent = %id, "an agent was deleted");
        Ok(Pass::Over)
    }
}
