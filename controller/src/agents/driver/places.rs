//! How much is asked of clusters at once: in all, and of each environment, so that one that does not answer does not keep
//! the others' agents waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cofferdam_contract::OrganizationId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls under way of one environment.
const EACH: usize = 16;
/// Environments that are remembered; beyond, those that nobody uses are forgotten.
const MOST: usize = 1_000;

#[derive(Default)]
pub struct Places(Mutex<HashMap<(OrganizationId, String), Arc<Semaphore>>>);

impl Places {
    /// Waits for a place among the environment's calls.
    pub async fn place(&self, organization: &OrganizationId, environment: &str) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
            if known.len() >= MOST {
                known.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            }
            let entry = known.entry((organization.clone(), environment.to_owned()));
            Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(EACH))))
        };
        semaphore.acquire_owned().await.ok()
    }
}
