//! Brings agents to their wanted state. One loop leases the agents that have work and gives each a keeper of its own; a
//! keeper plans (`plan.rs`, pure) and carries out steps (`steps/`).
//!
//! The next step is decided from the store alone, every step is written down before it is carried out, and every step
//! can be repeated, so the process may be killed at any point.

mod calls;
mod context;
mod keeper;
mod lease;
mod mending;
mod plan;
mod reconcile;
mod steps;
mod survey;
mod sweep;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_core::{every, millis, now_ms};
use cofferdam_logs::Logs;
use cofferdam_store::Store;
use tokio::sync::{Notify, broadcast};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

pub(crate) use self::steps::{sentence, shown};

use self::calls::ClusterCalls;
use self::context::Context;
use self::keeper::Keeper;
use self::lease::Lease;
use self::reconcile::{Strays, reconcile};
use self::survey::Surveys;
use self::sweep::{SWEEP_INTERVAL, sweep};
use crate::error::log;
use crate::{Deployments, Error, Timing};

/// Agents that one process drives.
const MAX_KEEPERS: usize = 10_000;
/// Agents that are claimed at once.
const MAX_CLAIMED: usize = 256;

type Key = (OrganizationId, AgentId);

/// Drives agents: brings their deployments up, watches them and takes them down.
pub struct Driver {
    context: Arc<Context>,
    single_process: bool,
    keepers: HashMap<Key, Handle>,
    tasks: JoinSet<()>,
    by_task: HashMap<Id, Key>,
}

/// A keeper's task as the driver reaches it.
struct Handle {
    wake: Arc<Notify>,
    lost: CancellationToken,
}

impl Driver {
    /// `single_process` says that no other process uses the database, so that all leases in it can be taken over.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn new(deployments: Arc<Deployments>, logs: Arc<Logs>, single_process: bool) -> Result<Self, Error> {
        let lease = Lease::new(millis(deployments.config.timing.lease))?;
        Ok(Self {
            context: Arc::new(Context {
                deployments,
                logs,
                lease,
                calls: ClusterCalls::default(),
                surveys: Surveys::default(),
            }),
            single_process,
            keepers: HashMap::new(),
            tasks: JoinSet::new(),
            by_task: HashMap::new(),
        })
    }

    /// Drives agents until `stop`, then gives up its leases.
    pub async fn drive(mut self, stop: CancellationToken) {
        let context = Arc::clone(&self.context);
        if self.single_process {
            log("taking over agents", context.store().release_agents(None).await);
        }
        self.run(&stop).await;
        self.tasks.shutdown().await;
        // Lines are stored before another driver may take the agents, so that it does not read them again.
        context.logs.close().await;
        log("giving agents back", context.store().release_agents(Some(&context.lease.owner)).await);
    }

    fn store(&self) -> &Store {
        self.context.store()
    }

    fn timing(&self) -> &Timing {
        self.context.timing()
    }

    async fn run(&mut self, stop: &CancellationToken) {
        let timing = *self.timing();
        let mut changes = self.context.deployments.changes();
        let (mut heartbeat, mut poll, mut sweeps) =
            (every(timing.heartbeat), every(timing.poll), every(SWEEP_INTERVAL));
        let mut searches = interval_at(Instant::now() + timing.reconcile, timing.reconcile);
        let mut side = JoinSet::new();
        let mut strays = Some(Strays::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = heartbeat.tick() => log("renewing leases", self.renew().await),
                _ = poll.tick() => log("looking for work", self.look().await),
                change = changes.recv() => match change {
                    Ok(change) if change.by_driver => {}
                    Ok(change) => log("taking an agent", self.wake((change.organization, change.agent)).await),
                    // Some changes were missed; the store has them.
                    Err(broadcast::error::RecvError::Lagged(_)) => log("looking for work", self.look().await),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
                _ = sweeps.tick() => {
                    let context = Arc::clone(&self.context);
                    side.spawn(async move {
                        log("cleaning up", sweep(&context.deployments).await);
                        None
                    });
                }
                _ = searches.tick() => {
                    // One search at a time: a slow cluster does not pile them up.
                    if let Some(known) = strays.take() {
                        let context = Arc::clone(&self.context);
                        side.spawn(async move { Some(reconcile(&context, known).await) });
                    }
                }
                Some(done) = side.join_next() => match done {
                    Ok(Some(known)) => strays = Some(known),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "a sweep or search of the driver panicked; it is started again");
                        strays.get_or_insert_default();
                    }
                },
            }
        }
    }

    /// Now, and the end of a lease that begins now.
    fn lease(&self) -> (i64, i64) {
        let now = now_ms();
        (now, now.saturating_add(millis(self.timing().lease)))
    }

    /// Renews the leases that are held, and ends the keepers whose lease was lost.
    async fn renew(&mut self) -> Result<(), Error> {
        let (now, until) = self.lease();
        let lease = &self.context.lease;
        let held: HashSet<Key> = self.store().prolong(&lease.owner, now, until).await?.into_iter().collect();
        lease.renewed(until);
        for (key, handle) in &self.keepers {
            if !held.contains(key) {
                handle.lost.cancel();
                // The new holder reads the agent's log too, from the last line that is stored.
                self.context.logs.leave(&key.0, &key.1);
            }
        }
        // Agents whose keeper panicked get a new one.
        held.into_iter().for_each(|key| self.keep(key));
        Ok(())
    }

    /// Takes agents that no driver has, and wakes the keepers of agents that other processes have changed.
    async fn look(&mut self) -> Result<(), Error> {
        let context = Arc::clone(&self.context);
        let (store, owner) = (context.store(), &context.lease.owner);
        for key in store.dirty_agents(owner).await? {
            match self.keepers.get(&key) {
                Some(handle) => handle.wake.notify_one(),
                None => self.keep(key),
            }
        }
        let room = MAX_KEEPERS.saturating_sub(self.keepers.len()).min(MAX_CLAIMED);
        if room > 0 {
            let (now, until) = self.lease();
            let taken = store.claim_agents(owner, now, until, room as u64).await?;
            taken.into_iter().for_each(|key| self.keep(key));
        }
        Ok(())
    }

    async fn wake(&mut self, key: Key) -> Result<(), Error> {
        if let Some(handle) = self.keepers.get(&key) {
            handle.wake.notify_one();
        } else if self.keepers.len() < MAX_KEEPERS {
            let (now, until) = self.lease();
            if self.store().claim_agent(&key.0, &key.1, &self.context.lease.owner, now, until).await? {
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
        let keeper = Keeper::new(Arc::clone(&self.context), &key, Arc::clone(&handle.wake));
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

    /// A keeper has ended: nothing is left to do, another driver has the agent, or the keeper panicked.
    async fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(key) = self.by_task.remove(&id) else { return };
        self.keepers.remove(&key);
        if let Err(error) = ended {
            tracing::error!(agent = %key.1, %error, "an agent's keeper panicked; it is started again");
            // Not at once: the cause may persist.
            return;
        }
        // The agent may have changed while its keeper ended.
        log("taking an agent", self.wake(key).await);
    }
}
