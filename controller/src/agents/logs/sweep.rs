//! Removes what is too old of logs that nobody collects now, and what is left of agents that are deleted. Bounded work at
//! a time; what fails is tried at the next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{AgentId, OrganizationId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::shelf::{ROOT, ShelfError};
use super::writer::oldest_ms;
use super::{AgentKey, Logs};

const EVERY: Duration = Duration::from_secs(3_600);
/// The first time: not together with everything else that a start does.
const FIRST: Duration = Duration::from_secs(120);
/// Objects removed each time.
const BATCH: usize = 10_000;

impl Logs {
    /// Removes old segments now and then, until `stop`; then ends.
    pub async fn keep_sweeping(self: Arc<Self>, stop: CancellationToken) {
        let mut wait = FIRST;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "old logs could not be removed; it is tried again");
            }
            wait = EVERY;
        }
    }

    /// One sweep over all logs.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn sweep(&self) -> Result<usize, ShelfError> {
        let oldest = oldest_ms(self.limits.days);
        // Those that are collected or followed here look after themselves.
        let here: HashSet<Path> = self.used().keys().map(folder).collect();
        let old = |meta: &ObjectMeta| {
            let modified = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default();
            modified < oldest && !here.iter().any(|folder| meta.location.prefix_matches(folder))
        };
        let listed = self.objects.list(Some(&Path::from(ROOT)));
        let found: Vec<Path> = {
            let mut listed = std::pin::pin!(listed);
            let mut found = Vec::new();
            while let Some(meta) = listed.try_next().await.map_err(ShelfError::from)? {
                if old(&meta) {
                    found.push(meta.location);
                }
                if found.len() >= BATCH {
                    break;
                }
            }
            found
        };
        self.remove(found).await
    }

    /// Removes all that is stored of an agent's log. One of the same id later goes on with higher numbers.
    ///
    /// # Errors
    /// A store that fails; what is left goes at the next try, or when it is too old.
    pub async fn forget(&self, organization: &OrganizationId, agent: &AgentId) -> Result<(), ShelfError> {
        self.leave(organization, agent);
        for watch in self.watches_of(organization, agent) {
            watch.ended.cancelled().await;
        }
        let folder = folder(&AgentKey { organization: organization.clone(), agent: agent.clone() });
        let mut listed = self.objects.list(Some(&folder));
        let mut found = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(ShelfError::from)? {
            found.push(meta.location);
        }
        self.remove(found).await.map(|_| ())
    }

    /// Many at once, where the store can.
    async fn remove(&self, paths: Vec<Path>) -> Result<usize, ShelfError> {
        let count = paths.len();
        let mut removed = self.objects.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(one) = removed.next().await {
            match one.map_err(ShelfError::from) {
                Ok(_) | Err(ShelfError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

fn folder(key: &AgentKey) -> Path {
    Path::from_iter([ROOT, key.organization.as_str(), key.agent.as_str()])
}
