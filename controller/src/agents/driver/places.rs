//! How much is asked of clusters at once: in all, and of each environment, so that one that does not answer does not keep
//! the others' agents waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cofferdam_contract::OrganizationId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls under way of one environment; those that wait for pods to end have places of their own.
const EACH: usize = 16;
/// Environments that are remembered; beyond, those that nobody uses are forgotten.
const MOST: usize = 1_000;

#[derive(Default)]
pub struct Places(Mutex<HashMap<(OrganizationId, String, bool), Arc<Semaphore>>>);

impl Places {
    /// Waits for a place among the environment's calls, those that end soon or those that wait.
    pub async fn place(
        &self,
        organization: &OrganizationId,
        environment: &str,
        waits: bool,
    ) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
            if known.len() >= MOST {
                known.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            }
            let entry = known.entry((organization.clone(), environment.to_owned(), waits));
            Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(EACH))))
        };
        semaphore.acquire_owned().await.ok()
    }
}
