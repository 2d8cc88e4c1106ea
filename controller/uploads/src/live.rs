//! All uploads of this process: decides which client may begin, continue or restart one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{DeploymentId, OrganizationId};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::hold::Hold;
use crate::session::{Busy, Session, Work};
use crate::slots::{Full, Slots};
use crate::state::Progress;
use crate::{Ended, UploadLimits};

/// Results are kept this long, for clients that come back for the answer.
const RESULT_TTL: Duration = Duration::from_secs(600);
const MAX_RESULTS: usize = 1_024;

/// The place in the archive at which a client continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Discards everything received before.
    Start,
    Offset(u64),
}

/// The reason why a client may not send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Another client is sending.
    Busy,
    /// The client has to continue at this offset.
    Mismatch(Progress),
    Full(Full),
}

impl From<Busy> for Refused {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

struct Entry {
    session: Arc<Session>,
    begun: Instant,
}

/// All uploads of this process.
pub struct Live {
    entries: Mutex<HashMap<DeploymentId, Entry>>,
    slots: Slots,
    limits: UploadLimits,
    /// Runs the pipelines: they outlive the connection that began them, and its event loop serves other connections.
    runtime: Handle,
}

impl Live {
    pub fn new(limits: UploadLimits, runtime: Handle) -> Self {
        Self { entries: Mutex::default(), slots: Slots::default(), limits, runtime }
    }

    pub fn limits(&self) -> &UploadLimits {
        &self.limits
    }

    /// The number of running pipelines.
    pub fn count(&self) -> usize {
        self.slots.taken()
    }

    fn find(&self, id: &DeploymentId) -> Option<Arc<Session>> {
        self.entries.lock().get(id).map(|entry| Arc::clone(&entry.session)).filter(|session| !session.is_stopped())
    }

    /// Progress and result of an upload. [`Progress::NOTHING`] if this process does not have it.
    pub fn look(&self, id: &DeploymentId) -> (Progress, Option<Ended>) {
        self.find(id).map_or((Progress::NOTHING, None), |session| (session.progress(), session.ended()))
    }

    /// This process has the upload, and it has not ended.
    pub fn is_under_way(&self, id: &DeploymentId) -> bool {
        self.find(id).is_some_and(|session| session.ended().is_none())
    }

    /// Gives a client the right to send for an upload, and begins the upload if this process does not have it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn hold(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        from: At,
        work: &Arc<dyn Work>,
    ) -> Result<Hold, Refused> {
        let Some(session) = self.find(id) else {
            return match from {
                At::Offset(offset) if offset > 0 => Err(Refused::Mismatch(Progress::NOTHING)),
                _ => self.begin(organization, id, None, work),
            };
        };
        let hold = session.claim()?;
        // An upload begins again at 0 after a temporary failure.
        let again = session.ended().is_some_and(|ended| ended.as_ref().as_ref().is_err_and(|why| why.retryable));
        let progress = if again { Progress::NOTHING } else { session.progress() };
        match from {
            At::Offset(offset) if offset != progress.offset => Err(Refused::Mismatch(progress)),
            At::Offset(_) if !again => Ok(hold),
            At::Start if progress == Progress::NOTHING && session.ended().is_none() => Ok(hold),
            At::Start | At::Offset(_) => {
                // We hold the session, so no other client gets in before the new one has replaced it.
                session.stop().await;
                self.begin(organization, id, Some(&session), work)
            }
        }
    }

    /// Begins a session and replaces `old` with it.
    fn begin(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        old: Option<&Arc<Session>>,
        work: &Arc<dyn Work>,
    ) -> Result<Hold, Refused> {
        let mut entries = self.entries.lock();
        let there = entries.get(id).map(|entry| &entry.session);
        // Another client was faster.
        if there.is_some_and(|there| !there.is_stopped() && !old.is_some_and(|old| Arc::ptr_eq(old, there))) {
            return Err(Refused::Busy);
        }
        let slot = self.slots.take(organization, self.limits.at_once, self.limits.per_organization);
        let slot = slot.map_err(Refused::Full)?;
        let session = Session::start(Arc::clone(work), &self.limits, slot, &self.runtime);
        let hold = session.claim()?;
        forget(&mut entries);
        entries.insert(id.clone(), Entry { session, begun: Instant::now() });
        Ok(hold)
    }

    /// Stops the upload of a deployment that is gone.
    pub async fn remove(&self, id: &DeploymentId) {
        let entry = self.entries.lock().remove(id);
        if let Some(entry) = entry {
            entry.session.stop().await;
        }
    }
}

/// Forgets uploads that ended long ago, and the oldest ones if there are too many.
fn forget(entries: &mut HashMap<DeploymentId, Entry>) {
    entries.retain(|_, entry| {
        !entry.session.is_stopped() && (entry.session.ended().is_none() || entry.begun.elapsed() < RESULT_TTL)
    });
    while entries.len() >= MAX_RESULTS {
        let ended = entries.iter().filter(|(_, entry)| entry.session.ended().is_some());
        let Some(oldest) = ended.min_by_key(|(_, entry)| entry.begun).map(|(id, _)| id.clone()) else { return };
        entries.remove(&oldest);
    }
}
