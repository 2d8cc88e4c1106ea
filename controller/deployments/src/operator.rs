//! The role `aws-operator`: carries images from buckets into registries, for whichever controller asked. It holds
//! rights in the cloud that controllers do not need, and decides nothing about agents: it reports that an image has
//! arrived, or why it will not come. Any number of operators share the work; when one is killed, another takes over
//! after its leases have run out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::{DeploymentId, FailureReason};
use cofferdam_core::{backoff, every, millis, now_ms, random_bits};
use cofferdam_store::DeploymentRow;
use cofferdam_uploads::{Carrier, NotCarried, PushedImage, Slots, UploadsConfig};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::driver::shown;
use crate::error::log;
use crate::states::awaits_image;
use crate::{Deployments, Error};

/// The wait before a carriage is tried again whose organization is at its limit.
const FULL_PAUSE: Duration = Duration::from_secs(5);
/// The detail of a deployment whose image is being carried.
pub(crate) const CARRYING: &str = "Copying the image to the registry.";

/// Copies images from buckets into registries.
pub struct Operator {
    carriage: Arc<Carriage>,
    max: usize,
    max_per_organization: usize,
    single_process: bool,
    slots: Slots,
    /// Carriages under way, and the token that ends each.
    running: HashMap<Id, (DeploymentId, CancellationToken)>,
    tasks: JoinSet<()>,
}

/// Shared by all carriages.
struct Carriage {
    deployments: Arc<Deployments>,
    carrier: Arc<dyn Carrier>,
    /// The holder of this operator's leases.
    owner: String,
}

impl Operator {
    /// `single_process` says that no other process uses the database, so that all leases in it can be taken over.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn new(
        deployments: Arc<Deployments>,
        carrier: Arc<dyn Carrier>,
        uploads: UploadsConfig,
        single_process: bool,
    ) -> Result<Self, Error> {
        let owner = format!("aws_{:032x}", random_bits()?);
        Ok(Self {
            carriage: Arc::new(Carriage { deployments, carrier, owner }),
            max: uploads.max,
            max_per_organization: uploads.max_per_organization,
            single_process,
            slots: Slots::default(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
        })
    }

    /// Carries images until `stop`, then gives up its leases.
    pub async fn operate(mut self, stop: CancellationToken) {
        let carriage = Arc::clone(&self.carriage);
        let store = &carriage.deployments.store;
        if self.single_process {
            log("taking over carriages", store.leave_carriages(None).await);
        }
        self.run(&stop).await;
        self.tasks.shutdown().await;
        log("giving carriages back", store.leave_carriages(Some(&carriage.owner)).await);
    }

    async fn run(&mut self, stop: &CancellationToken) {
        let carriage = Arc::clone(&self.carriage);
        let timing = carriage.deployments.config.timing;
        let (mut heartbeat, mut poll) = (every(timing.heartbeat), every(timing.poll));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = heartbeat.tick() => log("renewing leases", self.renew().await),
                _ = poll.tick() => log("looking for images", self.look().await),
                () = carriage.deployments.carriage.notified() => log("looking for images", self.look().await),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
            }
        }
    }

    /// Now, and the end of a lease that begins now.
    fn lease(&self) -> (i64, i64) {
        let now = now_ms();
        (now, now.saturating_add(millis(self.carriage.deployments.config.timing.lease)))
    }

    /// Renews the leases that are held, and ends the carriages whose lease was lost.
    async fn renew(&mut self) -> Result<(), Error> {
        let (now, until) = self.lease();
        let store = &self.carriage.deployments.store;
        if self.running.len() >= self.max {
            // The others wait for a slot; an operator has seen them.
            store.see_carriages(now).await?;
        }
        if self.running.is_empty() {
            return Ok(());
        }
        let held = store.prolong_carriages(&self.carriage.owner, now, until).await?;
        for (id, lost) in self.running.values() {
            if !held.contains(id) {
                lost.cancel();
            }
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Error> {
        if self.running.len() >= self.max {
            return Ok(());
        }
        let (now, until) = self.lease();
        let (store, owner) = (&self.carriage.deployments.store, &self.carriage.owner);
        for id in store.free_carriages(now, self.max as u64).await? {
            if !store.claim_carriage(&id, owner, now, until).await? {
                continue;
            }
            let Some(row) = store.deployment_by_id(&id).await?.filter(is_wanted) else {
                store.end_carriage(&id).await?;
                continue;
            };
            let Ok(slot) = self.slots.take(&row.organization, self.max, self.max_per_organization) else {
                store.leave_carriage(&id, owner, now.saturating_add(millis(FULL_PAUSE))).await?;
                continue;
            };
            let (lost, carriage) = (CancellationToken::new(), Arc::clone(&self.carriage));
            let told = lost.clone();
            let task = self.tasks.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = told.cancelled() => {}
                    carried = carriage.carry(&row) => log("carrying an image", carried),
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
            tracing::error!(%deployment, %error, "a carriage panicked; it is tried again");
        }
        // Does nothing if the carriage is done. Otherwise not at once: the cause may still be there.
        let Carriage { deployments, owner, .. } = &*self.carriage;
        let again = now_ms().saturating_add(millis(deployments.config.timing.retry_most));
        log("giving a carriage back", deployments.store.leave_carriage(&deployment, owner, again).await);
    }
}

/// The deployment still waits for its image and was requested to run.
fn is_wanted(row: &DeploymentRow) -> bool {
    awaits_image(row) && row.turn > 0
}

impl Carriage {
    /// Carries one image and reports the result. If the store fails, the lease runs out and the carriage is free again.
    async fn carry(&self, row: &DeploymentRow) -> Result<(), Error> {
        let deployments = &self.deployments;
        deployments.on_its_way(&row.id, CARRYING, false).await?;
        let received = AtomicU64::new(row.received_bytes);
        let outcome = tokio::select! {
            outcome = self.carried(row, &received) => outcome,
            unwanted = self.note_progress(row, &received) => {
                unwanted?;
                return Ok(deployments.store.end_carriage(&row.id).await?);
            }
        };
        let reported = match outcome {
            Ok(image) => deployments.image_arrived(&row.id, image).await,
            Err(failure) if self.may_retry(&failure, row) => return self.retry(&failure, row).await,
            Err(failure) => deployments.upload_failed(&row.id, failure.reason, &failure.detail).await,
        };
        match reported {
            // A refused report means that the deployment was stopped or deleted meanwhile.
            Ok(_) | Err(Error::Refused(_)) => Ok(deployments.store.end_carriage(&row.id).await?),
            Err(error) => Err(error),
        }
    }

    fn may_retry(&self, failure: &NotCarried, row: &DeploymentRow) -> bool {
        let waited = now_ms().saturating_sub(row.since_ms);
        failure.retryable && waited < millis(self.deployments.config.timing.patience)
    }

    async fn retry(&self, failure: &NotCarried, row: &DeploymentRow) -> Result<(), Error> {
        let timing = self.deployments.config.timing;
        let attempts = self.deployments.on_its_way(&row.id, &failure.detail, true).await?;
        let wait = backoff(timing.retry, timing.retry_most, attempts);
        let again = now_ms().saturating_add(millis(wait));
        Ok(self.deployments.store.leave_carriage(&row.id, &self.owner, again).await?)
    }

    async fn carried(&self, row: &DeploymentRow, received: &AtomicU64) -> Result<PushedImage, NotCarried> {
        let deployments = &self.deployments;
        let found = async {
            let agent = deployments.store.agent(&row.organization, &row.agent).await?;
            let name = agent.map(|agent| agent.environment).unwrap_or_default();
            Ok(deployments.environments.find(&row.organization, &name).await?)
        };
        let environment = found.await.map_err(|error: Error| NotCarried {
            reason: FailureReason::Registry,
            detail: shown(&error),
            retryable: !error.is_final(),
        })?;
        self.carrier.carry(&environment, row, received).await
    }

    /// Records the progress, until the deployment no longer waits for the image.
    async fn note_progress(&self, row: &DeploymentRow, received: &AtomicU64) -> Result<(), Error> {
        loop {
            tokio::time::sleep(self.deployments.config.timing.heartbeat).await;
            if !self.deployments.upload_progress(&row.id, received.load(Ordering::Relaxed)).await? {
                return Ok(());
            }
        }
    }
}
