//! New sessions: fresh, from a snapshot, or as copies of another. The row is written before the worker is asked: a crash
//! in between leaves a row without a state, which expires, and never a state without a row.

use cofferdam_contract::session::{DEFAULT_TTL_S, MAX_FORK, MAX_TTL_S};
use cofferdam_contract::worker::{WorkerFork, WorkerSession, WorkerSessionInfo};
use cofferdam_contract::{Language, Problem, Session, SessionId, SessionRequest};
use cofferdam_core::{Caller, now, random_bits};
use cofferdam_store::{SessionRow, SnapshotRow};
use cofferdam_workers::WorkerRequest;
use http::Method;

use super::{lost_if_unknown, view};
use crate::{Error, Sandboxes, grants};

/// The language of a new session: the one that was asked for, else the snapshot's.
fn language(asked: Option<Language>, snapshot: Option<&SnapshotRow>) -> Result<Language, Problem> {
    match (asked, snapshot) {
        (Some(asked), Some(row)) if asked.kernel() != row.language.kernel() => {
            let detail = format!("The snapshot's language is {}, not {}.", row.language.as_str(), asked.as_str());
            Err(Problem::invalid(detail))
        }
        (Some(asked), _) => Ok(asked),
        (None, Some(row)) => Ok(row.language),
        (None, None) => {
            let detail = "`language` is needed: \"python\", \"javascript\" or \"typescript\", or a `snapshot`";
            Err(Problem::invalid(detail))
        }
    }
}

impl Sandboxes {
    /// Makes a session, fresh or from a snapshot.
    ///
    /// # Errors
    /// An invalid request, too many sessions, or the worker's refusal.
    pub async fn create_session(&self, caller: &Caller, request: &SessionRequest) -> Result<Session, Error> {
        grants::check(&request.grants)?;
        self.allowed(&request.grants)?;
        let ttl_s = request.ttl_s.unwrap_or(DEFAULT_TTL_S);
        if !(1..=MAX_TTL_S).contains(&ttl_s) {
            return Err(Problem::invalid(format!("ttl_s is {ttl_s}; 1 to {MAX_TTL_S} are allowed")).into());
        }
        let limits = self.limits(&request.limits, &self.limits.default)?;
        let snapshot = match &request.snapshot {
            Some(name) => Some(self.find_snapshot(caller, name).await?),
            None => None,
        };
        let language = language(request.language, snapshot.as_ref())?;
        self.check_session_count(caller, 1).await?;
        let worker = match &snapshot {
            Some(row) => self.workers.named(&row.worker)?,
            None => self.workers.pick(None)?,
        };
        let created_at = now();
        let life = i64::try_from(self.config.max_life_s).unwrap_or(i64::MAX);
        let row = SessionRow {
            id: SessionId::from_random(random_bits()?),
            organization: caller.organization.clone(),
            api_key: caller.key.clone(),
            language,
            worker: worker.name().to_owned(),
            ttl_s,
            limits,
            grants: request.grants.clone(),
            created_at,
            last_used_at: created_at,
            ends_at: created_at.saturating_add(life),
        };
        let asked = WorkerSession {
            id: row.id.clone(),
            language,
            limits,
            ttl_s,
            ends_at: u64::try_from(row.ends_at).unwrap_or(0),
            snapshot: snapshot.map(|row| row.worker_key),
        };
        let ask = WorkerRequest::new(Method::POST, "/sessions", &caller.organization).json(&asked)?;
        self.store.insert_sessions(std::slice::from_ref(&row)).await?;
        match worker.ask::<WorkerSessionInfo>(ask).await {
            Ok(info) => Ok(view(&self.sessions.put(row), info)),
            Err(error) => {
                self.store.delete_sessions(&[row.id]).await?;
                Err(error.into())
            }
        }
    }

    /// Copies a session; each copy has the original's limits and end.
    ///
    /// # Errors
    /// As [`Self::show_session`], and too many sessions.
    pub async fn fork_session(&self, caller: &Caller, id: &SessionId, count: u32) -> Result<Vec<Session>, Error> {
        if !(1..=MAX_FORK).contains(&count) {
            return Err(Problem::invalid(format!("count is {count}; 1 to {MAX_FORK} are allowed")).into());
        }
        let session = self.find_session(caller, id).await?;
        let worker = self.workers.named(&session.row.worker)?;
        self.check_session_count(caller, u64::from(count)).await?;
        let _in_use = session.enter();
        let created_at = now();
        let copy = || -> Result<SessionRow, Error> {
            let id = SessionId::from_random(random_bits()?);
            Ok(SessionRow { id, created_at, last_used_at: created_at, ..session.row.clone() })
        };
        let rows = (0..count).map(|_| copy()).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<SessionId> = rows.iter().map(|row| row.id.clone()).collect();
        let ask = WorkerRequest::new(Method::POST, format!("/sessions/{id}/fork"), &caller.organization);
        let ask = ask.json(&WorkerFork { ids: ids.clone() })?;
        self.store.insert_sessions(&rows).await?;
        match worker.ask::<Vec<WorkerSessionInfo>>(ask).await {
            Ok(infos) => {
                let cached = rows.into_iter().map(|row| self.sessions.put(row));
                Ok(cached.zip(infos).map(|(session, info)| view(&session, info)).collect())
            }
            Err(error) => {
                self.store.delete_sessions(&ids).await?;
                Err(lost_if_unknown(error))
            }
        }
    }

    /// Checks that `more` sessions of the caller are within the operator's limits.
    async fn check_session_count(&self, caller: &Caller, more: u64) -> Result<(), Error> {
        let (every, own) = self.store.count_sessions(&caller.organization, &caller.key).await?;
        let config = &self.config;
        if every.saturating_add(more) > config.max || own.saturating_add(more) > config.max_per_key {
            let detail = format!(
                "There are {own} sessions of this key and {every} in all; at most {} and {} are allowed. End some.",
                config.max_per_key, config.max
            );
            return Err(Problem::overloaded(detail).into());
        }
        Ok(())
    }
}
