//! Creating sessions: fresh ones, copies of others, and from snapshots.

use std::sync::Arc;

use cofferdam_contract::worker::{WorkerSession, WorkerSessionInfo};
use cofferdam_contract::{OrganizationId, Problem, SessionId, SessionState};

use super::{Inner, Sessions, unix_now};
use crate::error::Error;
use crate::session::disk::Meta;
use crate::session::life::{Dormant, Life, Place, load_from, unloadable};

/// The word for a snapshot in messages.
const SNAPSHOT: &str = "the snapshot";

/// The starting point of a session.
pub(crate) enum NewSession {
    Fresh,
    /// A snapshot, by its key.
    Snapshot(SessionId),
}

impl Sessions {
    /// Creates a session.
    pub(crate) fn create(
        &self,
        organization: &OrganizationId,
        request: WorkerSession,
        from: NewSession,
    ) -> Result<WorkerSessionInfo, Error> {
        let mut room = self.reserve(1)?;
        let kernel = self.kernel(request.language.kernel())?;
        let mut meta = Meta {
            id: request.id,
            organization: organization.clone(),
            language: request.language,
            limits: request.limits,
            ttl_s: request.ttl_s,
            ends_at: request.ends_at,
            last_used_at: unix_now(),
            image_digest: kernel.image().digest().to_owned(),
            kernel_version: kernel.version().to_owned(),
            uptime_us: 0,
            generation: 0,
            warnings: Vec::new(),
        };
        let place = self.place(&kernel);
        let life = match from {
            NewSession::Fresh => Life::fresh(&place, &meta)?,
            NewSession::Snapshot(key) => Life::of_copy(self.read_snapshot(&place, organization, &key, &mut meta)?),
        };
        let info = meta.info(life.state());
        self.put(meta, life, kernel, Some(&mut room));
        drop(room);
        self.make_room();
        Ok(info)
    }

    fn read_snapshot(
        &self,
        place: &Place<'_>,
        organization: &OrganizationId,
        key: &SessionId,
        meta: &mut Meta,
    ) -> Result<Dormant, Error> {
        let gone = || Problem::not_found("no such snapshot");
        let stored = match self.snapshots.meta(key) {
            Ok(stored) => stored,
            Err(error) if error.is_absence() => return Err(gone().into()),
            Err(error) => return Err(unloadable(error, key, &self.snapshots, SNAPSHOT).into()),
        };
        if stored.organization != *organization {
            return Err(gone().into());
        }
        let mut of_snapshot = Meta { id: key.clone(), ..stored };
        let dormant =
            load_from(place, &mut of_snapshot, &self.snapshots, SNAPSHOT)?.checked(key, &self.snapshots, SNAPSHOT)?;
        meta.warnings = of_snapshot.warnings;
        Ok(dormant)
    }

    /// Copies a session, once for each id.
    pub(crate) async fn fork(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        ids: Vec<SessionId>,
    ) -> Result<Vec<WorkerSessionInfo>, Error> {
        let infos = self
            .with(id, organization, move |sessions, held| {
                let mut room = sessions.reserve(ids.len())?;
                let kernel = Arc::clone(&held.session.kernel);
                let place = sessions.place(&kernel);
                let Inner { life, meta } = &mut *held.inner;
                let (first, warnings) = life.copy(&place, meta)?;
                let mut first = Life::of_copy(first);
                let mut copies = Vec::with_capacity(ids.len());
                for id in ids {
                    let (copy, _) = first.copy(&place, meta)?;
                    let copied = Meta {
                        id,
                        last_used_at: unix_now(),
                        generation: 0,
                        warnings: warnings.clone(),
                        ..meta.clone()
                    };
                    copies.push((copied, Life::of_copy(copy)));
                }
                // All of them or none.
                let infos = copies.iter().map(|(copied, _)| copied.info(SessionState::Live)).collect();
                for (copied, life) in copies {
                    sessions.put(copied, life, Arc::clone(&kernel), Some(&mut room));
                }
                Ok(infos)
            })
            .await?;
        self.make_room_later();
        Ok(infos)
    }

    /// Writes a session's state as a snapshot under `key` and returns its size on disk.
    pub(crate) async fn snapshot(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        key: SessionId,
    ) -> Result<u64, Error> {
        self.with(id, organization, move |sessions, held| {
            let kernel = Arc::clone(&held.session.kernel);
            let place = sessions.place(&kernel);
            let Inner { life, meta } = &mut *held.inner;
            let (copy, warnings) = life.copy(&place, meta)?;
            let mut copied = Meta { id: key, generation: 0, warnings, ..meta.clone() };
            Life::of_copy(copy).write_to(&place, &mut copied, &sessions.snapshots)
        })
        .await
    }

    pub(crate) fn remove_snapshot(&self, key: &SessionId) {
        self.snapshots.remove(key);
    }
}
