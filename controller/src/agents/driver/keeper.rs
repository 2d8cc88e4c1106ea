//! One agent's keeper: plans, does what is due, waits. Different deployments of the agent are worked on side by side, one
//! deployment never twice at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::Key;
use super::act::{Act, Next, act};
use super::lease::Lease;
use super::places::Places;
use super::plan::{Action, plan};
use crate::Error;
use crate::services::App;
use crate::store::Wanted;

/// Looked at again after this time, whatever happens.
const LONGEST: Duration = Duration::from_secs(60);
/// After an error of ours, at first and at most.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Removing a deleted agent's log.
const FORGET: Duration = Duration::from_secs(30);

pub struct Keeper {
    app: App,
    lease: Arc<Lease>,
    places: Arc<Places>,
    key: Key,
    wake: Arc<Notify>,
    /// What is under way.
    busy: JoinSet<Result<Next, Error>>,
    /// Of which deployment it is.
    numbers: HashMap<Id, u64>,
    known: HashMap<u64, Known>,
}

/// What is remembered of a deployment between looks at it. Nothing that matters after a restart.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What is under way.
    doing: Option<Action>,
    /// The last action that ended, and when the same is due again.
    again: Option<(Action, Instant)>,
    errors: u32,
    /// Since when a version that serves has not been ready.
    pub unready: Option<Instant>,
}

enum Pass {
    /// Something may be due then.
    At(Instant),
    /// Nothing is left to be done or watched.
    Over,
}

impl Keeper {
    pub fn new(app: &App, lease: &Arc<Lease>, places: &Arc<Places>, key: &Key, wake: Arc<Notify>) -> Self {
        Self {
            app: Arc::clone(app),
            lease: Arc::clone(lease),
            places: Arc::clone(places),
            key: key.clone(),
            wake,
            busy: JoinSet::new(),
            numbers: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Until nothing is left to do. Dropped anywhere, it stops there.
    pub async fn run(mut self) {
        let mut errors = 0;
        loop {
            let until = match self.pass().await {
                Ok(Pass::Over) => return,
                Ok(Pass::At(at)) => {
                    errors = 0;
                    at
                }
                Err(error) => {
                    tracing::warn!(agent = %self.key.1, error = %error.chain(), "an agent could not be looked at");
                    errors += 1;
                    Instant::now() + backoff(RETRY, RETRY_MOST, errors)
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
                Some(done) = self.busy.join_next_with_id() => self.done(done),
            }
        }
    }

    /// Plans, and begins what is due.
    async fn pass(&mut self) -> Result<Pass, Error> {
        let (organization, id) = &self.key;
        let store = &self.app.store;
        let Some(agent) = store.agent(organization, id).await? else { return Ok(Pass::Over) };
        let rows = store.live_deployments(organization, id).await?;
        if rows.is_empty() && self.busy.is_empty() {
            if agent.wanted == Wanted::Delete {
                return self.forget().await;
            }
            store.release_agent(organization, id, &self.lease.owner).await?;
            return Ok(Pass::Over);
        }
        self.known.retain(|number, known| known.doing.is_some() || rows.iter().any(|row| row.number == *number));
        let now = Instant::now();
        let mut next = now + LONGEST;
        if !self.lease.holds() {
            // Prolonged soon, or lost.
            return Ok(Pass::At(now + RETRY));
        }
        for (number, action) in plan(&agent, &rows) {
            let Some(row) = rows.iter().find(|row| row.number == number) else { continue };
            let known = self.known.entry(number).or_default();
            if known.doing.is_some() {
                continue;
            }
            let due = Act::due(row, action, now);
            let due = match known.again {
                // The same again: not before its time.
                Some((before, at)) if before == action => due.max(at),
                _ => due,
            };
            if due > now {
                next = next.min(due);
                continue;
            }
            known.doing = Some(action);
            let act_on = Act {
                app: Arc::clone(&self.app),
                owner: self.lease.owner.clone(),
                places: Arc::clone(&self.places),
                agent: agent.clone(),
                row: row.clone(),
                unready: known.unready,
            };
            let task = self.busy.spawn(act(act_on, action));
            self.numbers.insert(task.id(), number);
        }
        // Not before what is due has begun: nobody waits for this. Until then the driver is only told once more.
        if agent.dirty > 0 && self.busy.is_empty() {
            self.app.store.clean_agent(&self.key.0, &self.key.1, &self.lease.owner, agent.dirty).await?;
        }
        Ok(Pass::At(next))
    }

    /// Something has ended; what comes next is planned anew.
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
                known.unready = next.unready;
                next.after
            }
            Ok(Err(error)) => {
                known.errors += 1;
                tracing::warn!(agent = %self.key.1, version = number, ?action, error = %error.chain(),
                    "a step of an agent failed; it is tried again");
                backoff(RETRY, RETRY_MOST, known.errors)
            }
            Err(error) => {
                tracing::error!(agent = %self.key.1, version = number, ?action, %error,
                    "a step of an agent broke; it is tried again");
                RETRY_MOST
            }
        };
        known.again = Some((action, Instant::now() + wait));
    }

    /// Nothing is left of an agent that is to be deleted.
    async fn forget(&mut self) -> Result<Pass, Error> {
        let (organization, id) = &self.key;
        let change = self.app.store.change_agent(organization, id, Some(&self.lease.owner)).await?;
        let Some(change) = change else { return Ok(Pass::Over) };
        if change.agent.wanted != Wanted::Delete {
            change.abandon().await?;
            return Ok(Pass::At(Instant::now()));
        }
        change.delete_agent().await?;
        // What stays of its log goes when it is too old.
        match tokio::time::timeout(FORGET, self.app.logs.forget(organization, id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(agent = %id, %error, "a deleted agent's log could not be removed"),
            Err(_) => tracing::warn!(agent = %id, "a deleted agent's log could not be removed in time"),
        }
        crate::agents::tell_listeners(&self.app, organization, id);
        tracing::info!(%organization, agent = %id, "an agent is deleted");
        Ok(Pass::Over)
    }
}

/// Twice as long each time, up to `most`.
pub fn backoff(first: Duration, most: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.saturating_sub(1).min(16)).unwrap_or(u32::MAX)).min(most)
}
