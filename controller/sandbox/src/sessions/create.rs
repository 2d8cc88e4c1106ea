//! New sessions: fresh, from a snapshot, or as copies of another. The row is written before the worker is asked: a crash
//! in between leaves a row without a state, which expires, and never a state without a row.

use std::sync::Arc;

use cofferdam_contract::session::{DEFAULT_TTL_S, MAX_FORK, MAX_TTL_S};
use cofferdam_contract::worker::{WorkerFork, WorkerSession, WorkerSessionInfo};
use cofferdam_contract::{Language, Problem, Session, SessionId, SessionRequest};
use cofferdam_core::{Caller, Failure as _, now, random_bits};
use cofferdam_store::{InsertedSessions, MaxSessions, SessionRow, SnapshotRow};
use cofferdam_workers::WorkerRequest;
use http::Method;

use super::{lost_if_unknown, view};
use crate::error::is;
use crate::whole::to_the_end;
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

/// A worker that does not know a snapshot from our store has lost it.
fn snapshot_lost(name: &str) -> Error {
    let detail = format!(
        "The worker does not have the snapshot {name:?} any more; its state is lost. Delete it and make another one."
    );
    Problem::session_lost(detail).into()
}

impl Sandboxes {
    /// Makes a session, fresh or from a snapshot.
    ///
    /// # Errors
    /// An invalid request, too many sessions, or the worker's refusal.
    pub async fn create_session(self: &Arc<Self>, caller: &Caller, request: &SessionRequest) -> Result<Session, Error> {
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
            worker: worker.home().to_owned(),
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
        let from_snapshot = request.snapshot.clone();
        let (this, unwanted) = (Arc::clone(self), vec![row.clone()]);
        let made = async move {
            let ask = WorkerRequest::new(Method::POST, "/sessions", &row.organization).json(&asked)?;
            this.reserve(std::slice::from_ref(&row)).await?;
            match worker.ask::<WorkerSessionInfo>(ask).await {
                Ok(info) => Ok(view(&this.sessions.put(row.clone()), info)),
                Err(error) => {
                    this.give_up(std::slice::from_ref(&row), &error).await?;
                    match from_snapshot {
                        Some(name) if is(&error, "not-found") => Err(snapshot_lost(&name)),
                        _ => Err(error.into()),
                    }
                }
            }
        };
        to_the_end(made, Arc::clone(self).end_unwanted(unwanted)).await
    }

    /// Copies a session; each copy has the original's limits and end.
    ///
    /// # Errors
    /// As [`Self::show_session`], and too many sessions.
    pub async fn fork_session(
        self: &Arc<Self>,
        caller: &Caller,
        id: &SessionId,
        count: u32,
    ) -> Result<Vec<Session>, Error> {
        if !(1..=MAX_FORK).contains(&count) {
            return Err(Problem::invalid(format!("count is {count}; 1 to {MAX_FORK} are allowed")).into());
        }
        let session = self.find_session(caller, id).await?;
        let worker = self.workers.named(&session.row.worker)?;
        let in_use = session.enter();
        let created_at = now();
        let copy = || -> Result<SessionRow, Error> {
            let id = SessionId::from_random(random_bits()?);
            Ok(SessionRow { id, created_at, last_used_at: created_at, ..session.row.clone() })
        };
        let rows = (0..count).map(|_| copy()).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<SessionId> = rows.iter().map(|row| row.id.clone()).collect();
        let (this, unwanted) = (Arc::clone(self), rows.clone());
        let made = async move {
            let original = &in_use.session().row;
            let path = format!("/sessions/{}/fork", original.id);
            let ask = WorkerRequest::new(Method::POST, path, &original.organization).json(&WorkerFork { ids })?;
            this.reserve(&rows).await?;
            match worker.ask::<Vec<WorkerSessionInfo>>(ask).await {
                Ok(infos) => {
                    let cached = rows.into_iter().map(|row| this.sessions.put(row));
                    Ok(cached.zip(infos).map(|(session, info)| view(&session, info)).collect())
                }
                Err(error) => {
                    this.give_up(&rows, &error).await?;
                    Err(lost_if_unknown(error))
                }
            }
        };
        to_the_end(made, Arc::clone(self).end_unwanted(unwanted)).await
    }

    /// Writes down sessions of one key that are going to be made, all of them or none.
    async fn reserve(&self, rows: &[SessionRow]) -> Result<(), Error> {
        let config = &self.config;
        let max = MaxSessions { every: config.max, own: config.max_per_key };
        match self.store.insert_sessions(rows, max).await? {
            InsertedSessions::Done => Ok(()),
            InsertedSessions::Full { every, own } => {
                let detail = format!(
                    "There are {own} sessions of this key and {every} in all; at most {} and {} are allowed. End some.",
                    config.max_per_key, config.max
                );
                Err(Problem::overloaded(detail).into())
            }
        }
    }

    /// Forgets sessions that a worker has failed to make. It may have made them all the same.
    async fn give_up(&self, rows: &[SessionRow], error: &cofferdam_workers::Error) -> Result<(), Error> {
        if error.refused().is_none_or(|problem| problem.status >= 500) {
            for row in rows {
                // If even this fails, the worker ends the session when its time is over.
                if let Err(error) = self.delete_at_worker(row).await {
                    tracing::debug!(session = %row.id, %error, "a session that was given up could not be ended");
                    break;
                }
            }
        }
        let ids: Vec<SessionId> = rows.iter().map(|row| row.id.clone()).collect();
        Ok(self.store.delete_sessions(&ids).await?)
    }

    /// Ends sessions that were made for a caller who has gone. If that fails, they end when their time is over.
    async fn end_unwanted(self: Arc<Self>, rows: Vec<SessionRow>) {
        for row in rows {
            if let Err(error) = self.end(&row).await {
                tracing::debug!(session = %row.id, %error, "a session that nobody waits for could not be ended");
            }
        }
    }
}
