//! The role `aws-operator`: brings what lies in buckets into registries, for whichever controller asked for it. It holds
//! rights in the cloud that controllers need not have. It decides nothing about agents: what it tells is that an image is
//! there, or why it will not come. Any number of such processes share the work; one that is killed is followed by another
//! when its leases have run out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::{DeploymentId, FailureReason};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::agents::driver::{backoff, every, is_final, log, millis, safe};
use crate::agents::uploads::Slots;
use crate::agents::{arrived, image_arrived, upload_failed, upload_progress};
use crate::clock::{now_ms, random_bits};
use crate::environments;
use crate::services::App;
use crate::store::DeploymentRow;

/// One whose organization has as many under way as it may, waits for so long.
const FULL: Duration = Duration::from_secs(5);
/// What is said of a deployment meanwhile.
pub const BROUGHT: &str = "Its image is brought to the registry.";

/// Brings what is asked for until `stop`, and gives the rest back then.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub async fn operate(app: App, stop: CancellationToken) -> Result<(), Error> {
    let owner = format!("aws_{:032x}", random_bits()?);
    let mut operator = Operator { owner, slots: Slots::default(), running: HashMap::new(), tasks: JoinSet::new(), app };
    // A SQLite file has one process: whoever had leases in it is gone.
    if operator.app.config.database.is_file() {
        log("taking over", operator.app.store.leave_carriages(None).await);
    }
    operator.run(&stop).await;
    operator.tasks.shutdown().await;
    log("giving images back", operator.app.store.leave_carriages(Some(&operator.owner)).await);
    Ok(())
}

struct Operator {
    app: App,
    owner: String,
    slots: Slots,
    /// What is under way, and the way to end it.
    running: HashMap<Id, (DeploymentId, CancellationToken)>,
    tasks: JoinSet<()>,
}

impl Operator {
    async fn run(&mut self, stop: &CancellationToken) {
        let timing = self.app.config.agents.timing;
        let (mut heartbeat, mut poll) = (every(timing.heartbeat), every(timing.poll));
        let app = Arc::clone(&self.app);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = heartbeat.tick() => log("prolonging leases", self.prolong().await),
                _ = poll.tick() => log("looking for images", self.look().await),
                () = app.agents.carriage.notified() => log("looking for images", self.look().await),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
            }
        }
    }

    fn until(&self) -> (i64, i64) {
        let now = now_ms();
        (now, now.saturating_add(millis(self.app.config.agents.timing.lease)))
    }

    /// Prolongs what is held; what was lost ends.
    async fn prolong(&mut self) -> Result<(), Error> {
        let (now, until) = self.until();
        if self.running.len() >= self.app.config.uploads.max {
            // Those that have to wait are seen to.
            self.app.store.see_carriages(now).await?;
        }
        if self.running.is_empty() {
            return Ok(());
        }
        let held = self.app.store.prolong_carriages(&self.owner, now, until).await?;
        for (id, lost) in self.running.values() {
            if !held.contains(id) {
                lost.cancel();
            }
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Error> {
        let uploads = &self.app.config.uploads;
        let (most, of_one) = (uploads.max, uploads.max_per_organization);
        if self.running.len() >= most {
            return Ok(());
        }
        let (now, until) = self.until();
        for id in self.app.store.free_carriages(now, most as u64).await? {
            if !self.app.store.claim_carriage(&id, &self.owner, now, until).await? {
                continue;
            }
            let Some(row) = self.app.store.deployment_by_id(&id).await?.filter(wanted) else {
                self.app.store.end_carriage(&id).await?;
                continue;
            };
            let Ok(slot) = self.slots.take(&row.organization, most, of_one) else {
                self.app.store.leave_carriage(&id, &self.owner, now.saturating_add(millis(FULL))).await?;
                continue;
            };
            let lost = CancellationToken::new();
            let (app, owner, told) = (Arc::clone(&self.app), self.owner.clone(), lost.clone());
            let task = self.tasks.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = told.cancelled() => {}
                    brought = bring(&app, &owner, &row) => log("bringing an image", brought),
                }
            });
            self.running.insert(task.id(), (id, lost));
        }
        Ok(())
    }

    async fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some((deployment, _)) = self.running.remove(&id) else { return };
        if let Err(error) = ended {
            tracing::error!(%deployment, %error, "bringing an image broke; it is tried again");
        }
        // Nothing where it is done. Not at once: what broke it may still be there.
        let again = now_ms().saturating_add(millis(self.app.config.agents.timing.retry_most));
        log("giving an image back", self.app.store.leave_carriage(&deployment, &self.owner, again).await);
    }
}

/// Whether its image is still waited for.
fn wanted(row: &DeploymentRow) -> bool {
    arrived::awaits_image(row) && row.turn > 0
}

/// Brings one, and tells how that went. Where the store fails it is nobody's when its lease runs out.
async fn bring(app: &App, owner: &str, row: &DeploymentRow) -> Result<(), Error> {
    let timing = app.config.agents.timing;
    arrived::on_its_way(app, &row.id, BROUGHT, false).await?;
    let received = AtomicU64::new(row.received_bytes);
    let outcome = tokio::select! {
        outcome = carried(app, row, &received) => outcome,
        noted = noting(app, row, &received) => {
            // Nobody waits for it any more.
            noted?;
            return app.store.end_carriage(&row.id).await;
        }
    };
    let told = match outcome {
        Ok(image) => image_arrived(app, &row.id, image).await,
        Err(failure) => {
            let waited = now_ms().saturating_sub(row.since_ms);
            if failure.retryable && waited < millis(timing.patience) {
                let attempts = arrived::on_its_way(app, &row.id, &failure.detail, true).await?;
                let wait = backoff(timing.retry, timing.retry_most, attempts);
                return app.store.leave_carriage(&row.id, owner, now_ms().saturating_add(millis(wait))).await;
            }
            upload_failed(app, &row.id, failure.reason, &failure.detail).await
        }
    };
    match told {
        // Somebody stopped or deleted it meanwhile.
        Ok(_) | Err(Error::Refused(_)) => app.store.end_carriage(&row.id).await,
        Err(error) => Err(error),
    }
}

async fn carried(
    app: &App,
    row: &DeploymentRow,
    received: &AtomicU64,
) -> Result<crate::agents::PushedImage, crate::agents::NotCarried> {
    let failed =
        |reason, detail: &str, retryable| crate::agents::NotCarried { reason, detail: detail.to_owned(), retryable };
    let found = async {
        let agent = app.store.agent(&row.organization, &row.agent).await?;
        let name = agent.map(|agent| agent.environment).unwrap_or_default();
        environments::find(app, &row.organization, &name).await
    };
    let environment = found.await.map_err(|error| failed(FailureReason::Registry, &safe(&error), !is_final(&error)))?;
    let Some(carrier) = app.agents.carrier() else {
        return Err(failed(FailureReason::Internal, "This server has no way to bring images from S3.", false));
    };
    carrier.carry(app, &environment, row, received).await
}

/// Notes how far it is, until nobody waits for it any more.
async fn noting(app: &App, row: &DeploymentRow, received: &AtomicU64) -> Result<(), Error> {
    loop {
        tokio::time::sleep(app.config.agents.timing.heartbeat).await;
        if !upload_progress(app, &row.id, received.load(Ordering::Relaxed)).await? {
            return Ok(());
        }
    }
}
