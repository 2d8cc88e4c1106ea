//! Lists of sessions: a page of rows from the store, and their states from the workers, each asked once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cofferdam_contract::worker::{MAX_INFOS, WorkerSessionIds, WorkerSessionInfo};
use cofferdam_contract::{OrganizationId, Session, SessionId};
use cofferdam_core::Caller;
use cofferdam_workers::WorkerRequest;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;

use super::cache::CachedSession;
use super::view;
use crate::{Error, Sandboxes};

/// The most sessions of one page: as many as one call to a worker can ask about.
pub const MAX_PAGE: u32 = MAX_INFOS as u32;
/// The most workers that are asked at the same time.
const MAX_ASKED: usize = 8;

impl Sandboxes {
    /// A page of the caller's sessions by id, and the id after which the next page begins. Sessions whose state is lost
    /// are left out.
    ///
    /// # Errors
    /// The store's failure, or a worker that cannot be asked.
    pub async fn list_sessions(
        &self,
        caller: &Caller,
        after: &str,
        most: u32,
    ) -> Result<(Vec<Session>, Option<SessionId>), Error> {
        let rows = self.store.sessions(&caller.organization, &caller.key, after, i64::from(most)).await?;
        let full = rows.len() == usize::try_from(most).unwrap_or(usize::MAX);
        let next = rows.last().filter(|_| full).map(|row| row.id.clone());
        let cached = rows.into_iter().map(|row| self.sessions.get(&row.id).unwrap_or_else(|| self.sessions.put(row)));
        let sessions: Vec<Arc<CachedSession>> = cached.filter(|session| !session.is_over()).collect();
        let mut by_worker: BTreeMap<String, Vec<SessionId>> = BTreeMap::new();
        for session in &sessions {
            by_worker.entry(session.row.worker.clone()).or_default().push(session.row.id.clone());
        }
        let answers = stream::iter(by_worker).map(|(worker, ids)| self.ask_infos(&caller.organization, worker, ids));
        let answers: Vec<Vec<WorkerSessionInfo>> = answers.buffer_unordered(MAX_ASKED).try_collect().await?;
        let mut infos: HashMap<SessionId, WorkerSessionInfo> =
            answers.into_iter().flatten().map(|info| (info.id.clone(), info)).collect();
        let shown = sessions.iter().filter_map(|session| Some(view(session, infos.remove(&session.row.id)?)));
        Ok((shown.collect(), next))
    }

    pub(super) async fn ask_infos(
        &self,
        organization: &OrganizationId,
        worker: String,
        ids: Vec<SessionId>,
    ) -> Result<Vec<WorkerSessionInfo>, Error> {
        let worker = self.workers.named(&worker)?;
        let request = WorkerRequest::new(Method::POST, "/session-infos", organization);
        Ok(worker.ask(request.json(&WorkerSessionIds { ids })?).await?)
    }
}
