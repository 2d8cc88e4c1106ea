//! The uploads that are under way in this process: who may begin, continue or restart one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cofferdam_contract::{DeploymentId, OrganizationId};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::session::{Busy, Hold, Progress, Session, Work};
use super::slots::{Full, Slots};
use super::{Ended, Limits};

/// How long it is remembered how an upload ended, for a client that comes back for the answer.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The most of those.
const MOST_REMEMBERED: usize = 1_024;

/// Where a client goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Throws away what came before.
    Start,
    Offset(u64),
}

/// Why a client may not send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Another client is sending.
    Busy,
    /// It has to go on there.
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

pub struct Live {
    entries: Mutex<HashMap<DeploymentId, Entry>>,
    slots: Slots,
    limits: Limits,
    /// Pipelines outlive the connection that began them, and its event loop may have others to serve.
    runtime: Handle,
}

impl Live {
    pub fn new(limits: Limits, runtime: Handle) -> Self {
        Self { entries: Mutex::default(), slots: Slots::default(), limits, runtime }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Pipelines that are there.
    pub fn count(&self) -> usize {
        self.slots.taken()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<DeploymentId, Entry>> {
        self.entries.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn find(&self, id: &DeploymentId) -> Option<Arc<Session>> {
        self.entries().get(id).map(|entry| Arc::clone(&entry.session)).filter(|session| !session.is_stopped())
    }

    /// How far an upload is, and how it ended; nothing of one that is not here.
    pub fn look(&self, id: &DeploymentId) -> (Progress, Option<Ended>) {
        self.find(id).map_or((Progress::NOTHING, None), |session| (session.progress(), session.ended()))
    }

    /// Whether an upload is here and has not ended.
    pub fn is_under_way(&self, id: &DeploymentId) -> bool {
        self.find(id).is_some_and(|session| session.ended().is_none())
    }

    /// The right to send for an upload, which is begun where it is not there.
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
        // After a failure that may come right it begins again at 0.
        let again = session.ended().is_some_and(|ended| ended.as_ref().as_ref().is_err_and(|why| why.retryable));
        let progress = if again { Progress::NOTHING } else { session.progress() };
        match from {
            At::Offset(offset) if offset != progress.offset => Err(Refused::Mismatch(progress)),
            At::Offset(_) if !again => Ok(hold),
            At::Start if progress == Progress::NOTHING && session.ended().is_none() => Ok(hold),
            At::Start | At::Offset(_) => {
                // Nobody else gets in: the session is ours until the new one has taken its place.
                session.stop().await;
                self.begin(organization, id, Some(&session), work)
            }
        }
    }

    /// Puts a new session in the place of `old`, or of none.
    fn begin(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        old: Option<&Arc<Session>>,
        work: &Arc<dyn Work>,
    ) -> Result<Hold, Refused> {
        let mut entries = self.entries();
        let there = entries.get(id).map(|entry| &entry.session);
        // Others were quicker.
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

    /// Ends an upload whose deployment is gone.
    pub async fn remove(&self, id: &DeploymentId) {
        let entry = self.entries().remove(id);
        if let Some(entry) = entry {
            entry.session.stop().await;
        }
    }
}

/// Forgets uploads that have ended: those of long ago, and the oldest where they are too many.
fn forget(entries: &mut HashMap<DeploymentId, Entry>) {
    entries.retain(|_, entry| {
        !entry.session.is_stopped() && (entry.session.ended().is_none() || entry.begun.elapsed() < REMEMBERED)
    });
    while entries.len() >= MOST_REMEMBERED {
        let ended = entries.iter().filter(|(_, entry)| entry.session.ended().is_some());
        let Some(oldest) = ended.min_by_key(|(_, entry)| entry.begun).map(|(id, _)| id.clone()) else { return };
        entries.remove(&oldest);
    }
}
