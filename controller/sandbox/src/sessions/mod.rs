//! Sessions: shown, suspended, resumed and ended here; made, forked and listed in the modules below.

mod cache;
mod create;
mod leftovers;
mod list;

use std::sync::Arc;

use cofferdam_contract::worker::WorkerSessionInfo;
use cofferdam_contract::{Problem, Session, SessionId};
use cofferdam_core::Caller;
use cofferdam_store::SessionRow;
use cofferdam_workers::WorkerRequest;
use http::Method;

use crate::error::is;
use crate::whole::to_the_end;
use crate::{Error, Sandboxes};

pub use cache::InUse;
pub(crate) use cache::{CachedSession, SessionCache};
pub use list::MAX_PAGE;

pub(crate) fn lost() -> Error {
    Problem::session_lost("The worker does not have the session any more; its state is lost. Make a new one.").into()
}

/// A worker that does not know a session from our store has lost it.
pub(crate) fn lost_if_unknown(error: cofferdam_workers::Error) -> Error {
    if is(&error, "not-found") { lost() } else { error.into() }
}

fn view(session: &CachedSession, info: WorkerSessionInfo) -> Session {
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let last_used = seconds(session.last_used_at()).max(info.last_used_at);
    Session {
        id: session.row.id.clone(),
        language: session.row.language,
        state: info.state,
        ttl_s: session.row.ttl_s,
        created_at: seconds(session.row.created_at),
        last_used_at: last_used,
        expires_at: last_used.saturating_add(session.row.ttl_s).min(seconds(session.row.ends_at)),
        warnings: info.warnings,
    }
}

impl Sandboxes {
    /// The caller's session of this id.
    ///
    /// # Errors
    /// [`Problem::not_found`], also for another key's session; or the store's failure.
    pub(crate) async fn find_session(&self, caller: &Caller, id: &SessionId) -> Result<Arc<CachedSession>, Error> {
        let found = match self.sessions.get(id) {
            Some(session) => Some(session),
            None => self.store.session(id).await?.map(|row| self.sessions.put(row)),
        };
        let own =
            found.filter(|s| s.row.organization == caller.organization && s.row.api_key == caller.key && !s.is_over());
        own.ok_or_else(|| Problem::not_found("There is no such session.").into())
    }

    /// Shows a session.
    ///
    /// # Errors
    /// [`Problem::not_found`], [`Problem::session_lost`], or the worker's refusal.
    pub async fn show_session(&self, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
        self.ask_session(caller, id, Method::GET, "").await
    }

    /// Writes a session to disk.
    ///
    /// # Errors
    /// As [`Self::show_session`].
    pub async fn suspend_session(&self, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
        self.ask_session(caller, id, Method::POST, "/suspend").await
    }

    /// Brings a suspended session back into memory.
    ///
    /// # Errors
    /// As [`Self::show_session`].
    pub async fn resume_session(&self, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
        let _in_use = self.find_session(caller, id).await?.enter();
        self.ask_session(caller, id, Method::POST, "/resume").await
    }

    async fn ask_session(&self, caller: &Caller, id: &SessionId, method: Method, tail: &str) -> Result<Session, Error> {
        let session = self.find_session(caller, id).await?;
        let worker = self.workers.named(&session.row.worker)?;
        let request = WorkerRequest::new(method, format!("/sessions/{id}{tail}"), &caller.organization);
        let info = worker.ask(request).await.map_err(lost_if_unknown)?;
        Ok(view(&session, info))
    }

    /// Ends a session, also if its worker has lost it or is no longer among the workers.
    ///
    /// # Errors
    /// [`Problem::not_found`], or a worker that cannot be asked now.
    pub async fn delete_session(self: &Arc<Self>, caller: &Caller, id: &SessionId) -> Result<(), Error> {
        let (this, session) = (Arc::clone(self), self.find_session(caller, id).await?);
        to_the_end(async move { this.end(&session.row).await }, async {}).await
    }

    /// Ends a session: at the worker first, so that its place is taken until its state is gone.
    pub(crate) async fn end(&self, row: &SessionRow) -> Result<(), Error> {
        self.delete_at_worker(row).await?;
        self.store.delete_sessions(std::slice::from_ref(&row.id)).await?;
        self.sessions.remove(&row.id);
        Ok(())
    }

    pub(crate) async fn delete_at_worker(&self, row: &SessionRow) -> Result<(), Error> {
        let Ok(worker) = self.workers.named(&row.worker) else { return Ok(()) };
        let request = WorkerRequest::new(Method::DELETE, format!("/sessions/{}", row.id), &row.organization);
        match worker.ask_bytes(request).await {
            Ok(_) => Ok(()),
            Err(error) if is(&error, "not-found") || is(&error, "session-lost") => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
