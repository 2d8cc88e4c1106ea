//! Brings about what is wanted of agents. One loop takes agents that have work under a lease and gives each a keeper of
//! its own; a keeper plans (`plan.rs`, pure) and acts (`act/`). What is done next is decided from the store alone, every
//! step is written down before it is acted on and can be done twice, so this process may be killed anywhere.

mod act;
mod keeper;
mod lease;
mod places;
mod plan;
mod reconcile;
mod sweep;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{AgentId, OrganizationId};
use tokio::sync::{Notify, broadcast};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub(in crate::agents) use self::act::{is_final, safe};
use self::keeper::Keeper;
pub(in crate::agents) use self::keeper::backoff;
use self::lease::Lease;
use self::places::Places;
use crate::Error;
use crate::clock::now_ms;
use crate::services::App;

/// Agents that one process drives at most.
const MOST: usize = 10_000;

type Key = (OrganizationId, AgentId);

/// Drives agents until `stop`, and gives them back then.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub async fn drive(app: App, stop: CancellationToken) -> Result<(), Error> {
    let length = millis(app.config.agents.timing.lease);
    let mut driver = Driver {
        lease: Arc::new(Lease::new(length)?),
        places: Arc::new(Places::default()),
        keepers: HashMap::new(),
        tasks: JoinSet::new(),
        by_task: HashMap::new(),
        app,
    };
    // A SQLite file has one process: whoever had leases in it is gone.
    if driver.app.config.database.is_file() {
        log("taking over", driver.app.store.release_agents(None).await);
    }
    driver.run(&stop).await;
    driver.tasks.shutdown().await;
    // Stored before another one may take the agents, so that it does not read the same lines again.
    driver.app.logs.close().await;
    log("giving agents back", driver.app.store.release_agents(Some(&driver.lease.owner)).await);
    Ok(())
}

/// Notes a failure of what is done again anyway.
pub(in crate::agents) fn log(what: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::warn!(error = %error.chain(), "{what} failed; it is tried again");
    }
}

struct Driver {
    app: App,
    lease: Arc<Lease>,
    places: Arc<Places>,
    keepers: HashMap<Key, Handle>,
    tasks: JoinSet<()>,
    by_task: HashMap<Id, Key>,
}

/// How a keeper is reached.
struct Handle {
    wake: Arc<Notify>,
    lost: CancellationToken,
}

impl Driver {
    async fn run(&mut self, stop: &CancellationToken) {
        let timing = self.app.config.agents.timing;
        let mut changes = self.app.agents.changes();
        let (mut heartbeat, mut poll) = (every(timing.heartbeat), every(timing.poll));
        let mut sweep = every(sweep::EVERY);
        let mut reconcile = tokio::time::interval_at(Instant::now() + timing.reconcile, timing.reconcile);
        let mut side = JoinSet::new();
        let mut strays = Some(reconcile::Strays::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = heartbeat.tick() => log("prolonging leases", self.prolong().await),
                _ = poll.tick() => log("looking for work", self.look().await),
                change = changes.recv() => match change {
                    Ok(change) if change.by_driver => {}
                    Ok(change) => log("taking an agent", self.wake((change.organization, change.agent)).await),
                    // Too many at once: the store says which.
                    Err(broadcast::error::RecvError::Lagged(_)) => log("looking for work", self.look().await),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
                _ = sweep.tick() => {
                    let app = Arc::clone(&self.app);
                    side.spawn(async move {
                        log("clearing up", sweep::sweep(&app).await);
                        None
                    });
                }
                _ = reconcile.tick() => {
                    // One at a time: a slow cluster does not pile them up.
                    if let Some(known) = strays.take() {
                        let (app, places) = (Arc::clone(&self.app), Arc::clone(&self.places));
                        side.spawn(async move { Some(reconcile::reconcile(&app, &places, known).await) });
                    }
                }
                Some(done) = side.join_next() => match done {
                    Ok(Some(known)) => strays = Some(known),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "a part of the driver broke; it is started again");
                        strays.get_or_insert_default();
                    }
                },
            }
        }
    }

    fn until(&self) -> (i64, i64) {
        let now = now_ms();
        (now, now.saturating_add(millis(self.app.config.agents.timing.lease)))
    }

    /// Prolongs what is held; keepers of what was lost end.
    async fn prolong(&mut self) -> Result<(), Error> {
        let (now, until) = self.until();
        let held: std::collections::HashSet<Key> =
            self.app.store.prolong(&self.lease.owner, now, until).await?.into_iter().collect();
        self.lease.prolonged(until);
        for (key, handle) in &self.keepers {
            if !held.contains(key) {
                handle.lost.cancel();
                // Whoever has it now reads its log too, from the last line that is stored.
                self.app.logs.leave(&key.0, &key.1);
            }
        }
        // Those whose keeper broke.
        held.into_iter().for_each(|key| self.keep(key));
        Ok(())
    }

    /// Takes what nobody has, and wakes those whose agents others have changed.
    async fn look(&mut self) -> Result<(), Error> {
        for key in self.app.store.dirty_agents(&self.lease.owner).await? {
            match self.keepers.get(&key) {
                Some(handle) => handle.wake.notify_one(),
                None => self.keep(key),
            }
        }
        let room = MOST.saturating_sub(self.keepers.len());
        if room > 0 {
            let (now, until) = self.until();
            let most = room.min(256) as u64;
            let taken = self.app.store.claim_agents(&self.lease.owner, now, until, most).await?;
            taken.into_iter().for_each(|key| self.keep(key));
        }
        Ok(())
    }

    async fn wake(&mut self, key: Key) -> Result<(), Error> {
        if let Some(handle) = self.keepers.get(&key) {
            handle.wake.notify_one();
        } else if self.keepers.len() < MOST {
            let (now, until) = self.until();
            if self.app.store.claim_agent(&key.0, &key.1, &self.lease.owner, now, until).await? {
                self.keep(key);
            }
        }
        Ok(())
    }

    fn keep(&mut self, key: Key) {
        if self.keepers.contains_key(&key) {
            return;
        }
        let handle = Handle { wake: Arc::new(Notify::new()), lost: CancellationToken::new() };
        let keeper = Keeper::new(&self.app, &self.lease, &self.places, &key, Arc::clone(&handle.wake));
        let lost = handle.lost.clone();
        let task = self.tasks.spawn(async move {
            tokio::select! {
                () = lost.cancelled() => {}
                () = keeper.run() => {}
            }
        });
        self.by_task.insert(task.id(), key.clone());
        self.keepers.insert(key, handle);
    }

    /// A keeper has ended: because nothing is left to do, because the agent is another's now, or because it broke.
    async fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(key) = self.by_task.remove(&id) else { return };
        self.keepers.remove(&key);
        if let Err(error) = ended {
            tracing::error!(agent = %key.1, %error, "an agent's keeper broke; it is started again");
            // Not at once: what breaks it may still be there.
            return;
        }
        // It may have been changed while it ended.
        log("taking an agent", self.wake(key).await);
    }
}

/// Ticks that are not made up for where one came late.
pub(in crate::agents) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

pub(in crate::agents) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
