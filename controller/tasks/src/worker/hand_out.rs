//! Hand-out: wake-ups say which lanes have something, a poll of all lanes is the net under them, and all free slots of a worker are
//! asked for at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofferdam_cache::{Topic, Wake};
use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_core::{chain, every};
use cofferdam_store::{HandedOut, Lane};
use tokio_util::sync::CancellationToken;

use super::turns::{Load, Turns};
use super::{LaneLimits, WorkerState, put_back};
use crate::{Error, Tasks};

/// The most tasks that are asked for at once.
const MAX_ASKED: usize = 64;
/// Hand-outs in a row before wake-ups are looked at again.
const MAX_ROUNDS: usize = 16;

impl Tasks {
    /// Hands out tasks to the workers of this process, until it is stopped. Afterwards nobody waits for one.
    pub async fn keep_handing_out(self: Arc<Self>, limits: Arc<dyn LaneLimits>, stop: CancellationToken) {
        let mut wakes = self.bus.subscribe(Topic::Queue);
        let mut polls = every(self.config.poll_interval);
        let mut turns = Turns::default();
        loop {
            let mut looks = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                wake = wakes.next() => {
                    looks |= hear(&mut turns, wake);
                    while let Some(wake) = wakes.try_next() {
                        looks |= hear(&mut turns, wake);
                    }
                }
                () = self.slots.wanted.notified() => {}
                _ = polls.tick() => looks = true,
            }
            if looks && self.has_free_slots() {
                match self.store.ready_lanes().await {
                    Ok(lanes) => lanes.into_iter().for_each(|lane| turns.add(lane)),
                    Err(error) => tracing::debug!(error = chain(&error), "the queue could not be looked at"),
                }
            }
            tokio::select! {
                served = self.serve(&mut turns, &*limits) => if let Err(error) = served {
                    tracing::debug!(error = chain(&error), "tasks could not be handed out");
                },
                // Tasks that it was being given go back when the worker leaves.
                () = stop.cancelled() => break,
            }
        }
        self.slots.closed.cancel();
        for worker in self.slots.workers() {
            worker.waiting.lock().clear();
        }
    }

    fn has_free_slots(&self) -> bool {
        self.slots.workers().iter().any(|worker| worker.free() > 0)
    }

    /// Serves free slots until there are none, or no lane has anything for them.
    async fn serve(&self, turns: &mut Turns, limits: &dyn LaneLimits) -> Result<(), Error> {
        for worker in self.slots.workers() {
            self.join(&worker).await?;
            if worker.unsure.load(Ordering::Acquire) {
                self.give_back_unknown(&worker).await?;
                worker.unsure.store(false, Ordering::Release);
            }
            let mut rounds = 0;
            loop {
                let free = worker.free().min(MAX_ASKED);
                if free == 0 || turns.is_empty() || !self.serve_once(&worker, free, turns, limits).await? {
                    break;
                }
                rounds += 1;
                if rounds >= MAX_ROUNDS {
                    // Wake-ups first, then on.
                    self.slots.wanted.notify_one();
                    break;
                }
            }
        }
        Ok(())
    }

    /// Asks once for so many tasks. Returns false if no lane may have any now.
    async fn serve_once(
        &self,
        worker: &WorkerState,
        free: usize,
        turns: &mut Turns,
        limits: &dyn LaneLimits,
    ) -> Result<bool, Error> {
        let mut known = HashMap::new();
        for lane in turns.lanes() {
            let limit = limits.limit(&lane).await;
            if limit.organization.is_some() || limit.agent.is_some() {
                known.insert(lane, limit);
            }
        }
        let load = if known.is_empty() { Load::default() } else { self.load().await? };
        let dealt = turns.deal(free, &known, load);
        if dealt.is_empty() {
            return Ok(false);
        }
        // True while it is not known what became of the hand-out, also if this future is dropped.
        worker.unsure.store(true, Ordering::Release);
        let handed = self.store.hand_out(&worker.id, &dealt).await?;
        worker.unsure.store(false, Ordering::Release);
        let mut got: HashMap<Lane, u32> = HashMap::new();
        for task in handed {
            let lane = Lane { organization: task.task.organization.clone(), agent: task.task.agent.clone() };
            *got.entry(lane).or_default() += 1;
            self.give(worker, task);
        }
        for (lane, asked) in dealt {
            if got.get(&lane).copied().unwrap_or_default() < asked {
                turns.remove(&lane);
            }
        }
        Ok(true)
    }

    async fn load(&self) -> Result<Load, Error> {
        let mut load = Load::default();
        for (lane, tasks) in self.store.executing().await? {
            *load.organizations.entry(lane.organization.clone()).or_default() += tasks;
            load.lanes.insert(lane, tasks);
        }
        Ok(load)
    }

    /// Gives a task to a slot that waits; back to the queue if none does any more.
    fn give(&self, worker: &WorkerState, mut handed: HandedOut) {
        let waited_ms = handed.waited_ms;
        self.held.add(&handed.task.id, &handed.task.thread, &handed.lease);
        loop {
            let Some(slot) = worker.waiting.lock().pop_front() else {
                put_back(&self.writer, (handed.task.id, handed.task.thread, handed.lease));
                return;
            };
            match slot.send(handed) {
                Ok(()) => {
                    self.metrics.got(waited_ms);
                    return;
                }
                Err(back) => handed = back,
            }
        }
    }
}

impl WorkerState {
    /// Slots that wait; those whose callers went away are forgotten.
    fn free(&self) -> usize {
        let mut waiting = self.waiting.lock();
        waiting.retain(|slot| !slot.is_closed());
        waiting.len()
    }
}

/// Takes a wake-up. Returns true if all lanes have to be looked at.
fn hear(turns: &mut Turns, wake: Wake) -> bool {
    let Wake::Message(lane) = wake else { return true };
    let lane = std::str::from_utf8(&lane).ok().and_then(|lane| lane.split_once('/'));
    let Some((organization, agent)) = lane else { return false };
    if let (Ok(organization), Ok(agent)) = (OrganizationId::parse(organization), AgentId::parse(agent)) {
        turns.add(Lane { organization, agent });
    }
    false
}
