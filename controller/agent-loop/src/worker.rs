//! The agent worker: slots that take tasks and run them, until the process drains. What is still under way then comes to its step's end
//! and goes back into the queue; what does not is handed out again.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::chain;
use cofferdam_store::{HandedOut, Lease, Step, TaskRow, Turn, Used, Write};
use cofferdam_tasks::WorkerLease;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::parts::Parts;
use crate::run::{self, Ends};
use crate::step::Halt;

/// The wait before this process tries to become a worker again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Tries to give a task back after a failure below.
const MAX_GIVE_BACK: u32 = 30;

/// Takes tasks and runs them until `draining`; those under way end at their next step, or are dropped at `stop`.
pub(crate) async fn run(parts: &Arc<Parts>, draining: &CancellationToken, stop: &CancellationToken) {
    while !draining.is_cancelled() {
        match parts.tasks.worker() {
            Ok(worker) => work(parts, &worker, draining, stop).await,
            Err(error) => tracing::error!(error = chain(&error), "this process cannot take tasks"),
        }
        tokio::select! {
            () = draining.cancelled() => {}
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

/// One life of a worker: until it drains, or could not say that it lives.
async fn work(parts: &Arc<Parts>, worker: &WorkerLease, draining: &CancellationToken, stop: &CancellationToken) {
    let tracker = TaskTracker::new();
    // Ends every run at once: the worker is lost, or the time for draining is over.
    let abort = worker.lost.child_token();
    for _ in 0..parts.config.slots.max(1) {
        let (parts, worker, draining, abort) = (Arc::clone(parts), worker.clone(), draining.clone(), abort.clone());
        tracker.spawn(slot(parts, worker, draining, abort));
    }
    tracker.close();
    tokio::select! {
        () = tracker.wait() => {}
        () = async {
            draining.cancelled().await;
            tokio::select! {
                () = tokio::time::sleep(parts.config.drain) => {}
                () = stop.cancelled() => {}
            }
        } => {}
    }
    abort.cancel();
    // Runs look at the token wherever they wait.
    if tokio::time::timeout(Duration::from_secs(2), tracker.wait()).await.is_err() {
        tracing::warn!("tasks did not end in time");
    }
    if let Err(error) = parts.tasks.leave(worker).await {
        tracing::warn!(
            error = chain(&error),
            "the tasks of this worker could not be given back; others take them later"
        );
    }
}

async fn slot(parts: Arc<Parts>, worker: WorkerLease, draining: CancellationToken, abort: CancellationToken) {
    while !draining.is_cancelled() && !abort.is_cancelled() {
        let handed = tokio::select! {
            handed = parts.tasks.next(&worker) => handed,
            () = draining.cancelled() => return,
            () = abort.cancelled() => return,
        };
        let Some(handed) = handed else { return };
        one(&parts, handed, &draining, &abort).await;
    }
}

/// Runs one task, and watches what is asked of it meanwhile.
async fn one(parts: &Arc<Parts>, handed: HandedOut, draining: &CancellationToken, abort: &CancellationToken) {
    let (task, lease) = (handed.task.clone(), handed.lease.clone());
    let span = tracing::info_span!(
        "invoke_agent",
        "gen_ai.operation.name" = "invoke_agent",
        "gen_ai.agent.id" = %task.agent,
        "gen_ai.conversation.id" = %task.thread,
        task = %task.id,
        attempt = lease.attempt,
        status = tracing::field::Empty,
    );
    let mut asked = parts.tasks.asked(&task.id);
    let cancel = abort.child_token();
    let heard = Arc::new(Mutex::new(None));
    let ends = Ends { cancel: cancel.clone(), heard: Arc::clone(&heard), draining: draining.clone() };
    parts.metrics.running.inc();
    let running = run::run(parts, handed, ends).instrument(span);
    tokio::pin!(running);
    let halt = loop {
        tokio::select! {
            halt = &mut running => break halt,
            what = asked.wait(), if !cancel.is_cancelled() => {
                *heard.lock() = Some(what);
                cancel.cancel();
            }
        }
    };
    parts.metrics.running.dec();
    match halt {
        Halt::Over | Halt::Lost | Halt::Asked(_) | Halt::Draining => {}
        Halt::Broken(error) => {
            tracing::error!(task = %task.id, error = chain(&error), "a task was interrupted by a failure of this server");
            give_back(parts, &task, &lease, abort).await;
        }
    }
}

/// Puts a task back into the queue after a failure below it. It adds nothing, so that it may be written twice.
async fn give_back(parts: &Parts, task: &TaskRow, lease: &Lease, abort: &CancellationToken) {
    for tried in 1..=MAX_GIVE_BACK {
        let wait = cofferdam_core::backoff(Duration::from_secs(1), Duration::from_secs(10), tried);
        let at_ms = cofferdam_core::now_ms().saturating_add(cofferdam_core::millis(wait));
        let step = Step {
            task: task.id.clone(),
            thread: task.thread.clone(),
            lease: lease.clone(),
            messages: Vec::new(),
            events: Vec::new(),
            receipts: Vec::new(),
            used: Used::default(),
            used_tools: Vec::new(),
            state: std::collections::BTreeMap::new(),
            turn: Turn::Again {
                why: None,
                detail: "It is tried again after a failure of this server.".to_owned(),
                at_ms: Some(at_ms),
            },
        };
        match parts.tasks.write(Write::Step(Box::new(step))).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(task = %task.id, error = chain(&error), "a task could not be given back yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = abort.cancelled() => return,
        }
    }
}
