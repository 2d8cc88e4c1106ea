//! Removes old segments of logs that are not in memory, and the logs of deleted agents. Each sweep is bounded; a failed one
//! is repeated at the next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{AgentId, OrganizationId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use crate::positions::AgentKey;
use crate::shelf::{ROOT, SegmentError, folder};
use crate::writer::oldest_ms;
use crate::{Error, Logs};

const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// The first sweep waits until the start of the process is over.
const FIRST_DELAY: Duration = Duration::from_secs(120);
/// Objects removed in one sweep.
const MAX_REMOVED: usize = 10_000;

impl Logs {
    /// Sweeps every hour, until `stop`.
    pub async fn keep_sweeping(self: Arc<Self>, stop: CancellationToken) {
        let mut wait = FIRST_DELAY;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "cannot remove old logs yet");
            }
            wait = SWEEP_INTERVAL;
        }
    }

    /// Removes old segments. Returns their number.
    ///
    /// # Errors
    /// The object store failed.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let oldest = oldest_ms(self.limits.days);
        // Logs in memory remove their old segments themselves.
        let here: HashSet<Path> = self.agents_in_memory().iter().map(folder).collect();
        let old = |meta: &ObjectMeta| {
            let modified = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default();
            modified < oldest && !here.iter().any(|folder| meta.location.prefix_matches(folder))
        };
        let listed = self.objects.list(Some(&Path::from(ROOT)));
        let found: Vec<Path> = {
            let mut listed = std::pin::pin!(listed);
            let mut found = Vec::new();
            while let Some(meta) = listed.try_next().await.map_err(|error| SegmentError::of_bucket(&error))? {
                if old(&meta) {
                    found.push(meta.location);
                }
                if found.len() >= MAX_REMOVED {
                    break;
                }
            }
            found
        };
        self.remove(found).await
    }

    /// Removes the stored log of an agent. A new agent of the same id continues with higher numbers.
    ///
    /// # Errors
    /// The object store failed. The rest of the log is removed at the next try, or when it is too old.
    pub async fn forget(&self, organization: &OrganizationId, agent: &AgentId) -> Result<(), Error> {
        self.leave(organization, agent);
        for watch in self.watches_of(organization, agent) {
            watch.ended.cancelled().await;
        }
        let folder = folder(&AgentKey { organization: organization.clone(), agent: agent.clone() });
        let mut listed = self.objects.list(Some(&folder));
        let mut found = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(|error| SegmentError::of_bucket(&error))? {
            found.push(meta.location);
        }
        self.remove(found).await.map(|_| ())
    }

    /// Removes objects, many at once if the store can.
    async fn remove(&self, paths: Vec<Path>) -> Result<usize, Error> {
        let count = paths.len();
        let mut removed = self.objects.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(one) = removed.next().await {
            match one {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(SegmentError::store(&error).into()),
            }
        }
        Ok(count)
    }
}
