//! Operations on an existing session: suspend, resume, files, delete.

use std::sync::Arc;

use cofferdam_contract::worker::WorkerSessionInfo;
use cofferdam_contract::{Fault, OrganizationId, Problem, SessionId, SessionState};

use super::{Inner, Sessions, unix_now};
use crate::error::Error;
use crate::session::life::Life;

impl Sessions {
    pub(crate) async fn suspend(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
    ) -> Result<WorkerSessionInfo, Error> {
        self.with(id, organization, |sessions, held| {
            held.suspend(sessions)?;
            Ok(held.inner.meta.info(SessionState::Suspended))
        })
        .await
    }

    pub(crate) async fn resume(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
    ) -> Result<WorkerSessionInfo, Error> {
        let info = self
            .with(id, organization, |sessions, held| {
                if matches!(held.inner.life, Life::Live { .. }) {
                    return Err(Problem::conflict("the session is live already").into());
                }
                let Inner { life, meta } = &mut *held.inner;
                life.wake(&sessions.place(&held.session.kernel), meta)?;
                meta.last_used_at = unix_now();
                Ok(meta.info(SessionState::Live))
            })
            .await?;
        self.make_room_later();
        Ok(info)
    }

    pub(crate) async fn with_files<R: Send + 'static>(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        change: bool,
        work: impl FnOnce(&cofferdam_host_api::Vfs) -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.with(id, organization, move |sessions, held| {
            let Inner { life, meta } = &mut *held.inner;
            let result = life.with_files(&sessions.place(&held.session.kernel), meta, change, work);
            if change {
                sessions.checkpoint_later(held.session());
            }
            result
        })
        .await
    }

    /// Ends a session. A running one ends after its run. Its id is free at once.
    pub(crate) fn remove(self: &Arc<Self>, id: &SessionId, organization: &OrganizationId) -> Result<(), Problem> {
        if self.unstrand(id, organization) {
            self.folder.remove(id);
            return Ok(());
        }
        let session = self.find(id, organization)?;
        self.table().remove(id);
        self.folder.remove(id);
        let sessions = Arc::clone(self);
        self.background.spawn(async move {
            let mut inner = session.inner.lock().await;
            let deleted = Problem::session_lost("the session was deleted").by(Fault::Caller);
            let life = std::mem::replace(&mut inner.life, Life::Lost(deleted));
            life.end(&sessions.place(&session.kernel), &inner.meta);
            sessions.folder.remove(&session.id);
        });
        Ok(())
    }
}
