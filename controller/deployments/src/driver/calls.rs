//! Bounds the concurrent calls to clusters, separately for each environment: a cluster that does not answer does not
//! delay the agents of other environments.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls of one kind under way to one environment.
const MAX_CALLS: usize = 16;
/// Environments that are remembered; beyond that, those without a call are forgotten.
const MAX_ENVIRONMENTS: usize = 1_000;

/// A short call cannot be held up by calls that wait for pods to end: each kind has permits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CallKind {
    Short,
    /// Waits for pods to end.
    Waiting,
}

#[derive(Default)]
pub(super) struct ClusterCalls(Mutex<HashMap<(OrganizationId, String, CallKind), Arc<Semaphore>>>);

impl ClusterCalls {
    /// Waits until another call to the environment may begin. The call ends when the permit is dropped.
    pub(super) async fn begin(
        &self,
        organization: &OrganizationId,
        environment: &str,
        kind: CallKind,
    ) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut known = self.0.lock();
            if known.len() >= MAX_ENVIRONMENTS {
                known.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            }
            let entry = known.entry((organization.clone(), environment.to_owned(), kind));
            Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(MAX_CALLS))))
        };
        semaphore.acquire_owned().await.ok()
    }
}
