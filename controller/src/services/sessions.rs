//! Sessions: made, shown, suspended, resumed, forked and ended. A row is written before the worker is asked, so a crash
//! in between leaves a row without a state, which expires, and never a state without a row.

use std::sync::Arc;

use cofferdam_contract::session::{DEFAULT_TTL_S, MAX_FORK, MAX_TTL_S};
use cofferdam_contract::worker::{WorkerFork, WorkerSession, WorkerSessionInfo};
use cofferdam_contract::{Problem, Session, SessionId, SessionRequest};
use http::Method;

use super::session_cache::CachedSession;
use super::{App, run_grants, runs, snapshots};
use crate::Error;
use crate::auth::Caller;
use crate::clock::{now, random_bits};
use crate::store::SessionRow;
use crate::workers::WorkerRequest;

pub(super) fn lost() -> Error {
    Problem::session_lost("The worker does not have the session any more; its state is lost. Make a new one.").into()
}

/// A worker that does not know a session that we have written down has lost it.
fn lost_if_unknown(error: Error) -> Error {
    match error {
        Error::Refused(problem) if problem.status == 404 => lost(),
        other => other,
    }
}

/// The caller's session. Others do not exist for it.
///
/// # Errors
/// [`Problem::not_found`], or the store's failure.
pub async fn find(app: &App, caller: &Caller, id: &SessionId) -> Result<Arc<CachedSession>, Error> {
    let found = match app.sessions.get(id) {
        Some(session) => Some(session),
        None => app.store.session(id).await?.map(|row| app.sessions.put(row)),
    };
    let own =
        found.filter(|s| s.row.organization == caller.organization && s.row.api_key == caller.key && !s.is_over());
    own.ok_or_else(|| Problem::not_found("There is no such session.").into())
}

pub(super) fn view(session: &CachedSession, info: WorkerSessionInfo) -> Session {
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

async fn room_for(app: &App, caller: &Caller, more: u64) -> Result<(), Error> {
    let (every, own) = app.store.count_sessions(&caller.organization, &caller.key).await?;
    let config = &app.config.sessions;
    if every.saturating_add(more) > config.max || own.saturating_add(more) > config.max_per_key {
        let detail = format!(
            "There are {own} sessions of this key and {every} in all; at most {} and {} are allowed. End some.",
            config.max_per_key, config.max
        );
        return Err(Problem::overloaded(detail).into());
    }
    Ok(())
}

/// Makes a session, fresh or from a snapshot.
///
/// # Errors
/// What is wrong with the request, too many sessions, or the worker's refusal.
pub async fn create(app: &App, caller: &Caller, request: &SessionRequest) -> Result<Session, Error> {
    run_grants::check(&request.grants)?;
    run_grants::allowed(app, &request.grants)?;
    let ttl_s = request.ttl_s.unwrap_or(DEFAULT_TTL_S);
    if !(1..=MAX_TTL_S).contains(&ttl_s) {
        return Err(Problem::invalid(format!("ttl_s is {ttl_s}; 1 to {MAX_TTL_S} are allowed")).into());
    }
    let limits = runs::limits(app, &request.limits, &app.config.limits.default)?;
    let snapshot = match &request.snapshot {
        Some(name) => Some(snapshots::find(app, caller, name).await?),
        None => None,
    };
    let language = match (request.language, &snapshot) {
        (Some(asked), Some(row)) if asked.kernel() != row.language.kernel() => {
            let detail = format!("The snapshot's language is {}, not {}.", row.language.as_str(), asked.as_str());
            return Err(Problem::invalid(detail).into());
        }
        (Some(asked), _) => asked,
        (None, Some(row)) => row.language,
        (None, None) => {
            let detail = "`language` is needed: \"python\", \"javascript\" or \"typescript\", or a `snapshot`";
            return Err(Problem::invalid(detail).into());
        }
    };
    room_for(app, caller, 1).await?;
    let worker = match &snapshot {
        Some(row) => app.workers.named(&row.worker)?,
        None => app.workers.pick(None)?,
    };
    let created_at = now();
    let life = i64::try_from(app.config.sessions.max_life_s).unwrap_or(i64::MAX);
    let row = SessionRow {
        id: SessionId::from_random(random_bits()?),
        organization: caller.organization.clone(),
        api_key: caller.key.clone(),
        language,
        worker: worker.name.clone(),
        ttl_s,
        limits,
        grants: request.grants.clone(),
        created_at,
        last_used_at: created_at,
        ends_at: created_at.saturating_add(life),
    };
    let wanted = WorkerSession {
        id: row.id.clone(),
        language,
        limits,
        ttl_s,
        ends_at: u64::try_from(row.ends_at).unwrap_or(0),
        snapshot: snapshot.map(|row| row.worker_key),
    };
    let ask = WorkerRequest::new(Method::POST, "/sessions", &caller.organization).json(&wanted)?;
    app.store.insert_sessions(std::slice::from_ref(&row)).await?;
    match worker.ask::<WorkerSessionInfo>(ask).await {
        Ok(info) => Ok(view(&app.sessions.put(row), info)),
        Err(error) => {
            app.store.delete_sessions(&[row.id]).await?;
            Err(error)
        }
    }
}

async fn call(app: &App, caller: &Caller, id: &SessionId, method: Method, tail: &str) -> Result<Session, Error> {
    let session = find(app, caller, id).await?;
    let worker = app.workers.named(&session.row.worker)?;
    let request = WorkerRequest::new(method, format!("/sessions/{id}{tail}"), &caller.organization);
    let info = worker.ask(request).await.map_err(lost_if_unknown)?;
    Ok(view(&session, info))
}

/// # Errors
/// [`Problem::not_found`], [`Problem::session_lost`], or the worker's refusal; so it is for the functions below.
pub async fn show(app: &App, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
    call(app, caller, id, Method::GET, "").await
}

/// # Errors
/// As for [`show`].
pub async fn suspend(app: &App, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
    call(app, caller, id, Method::POST, "/suspend").await
}

/// # Errors
/// As for [`show`].
pub async fn resume(app: &App, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
    let _in_use = find(app, caller, id).await?.enter();
    call(app, caller, id, Method::POST, "/resume").await
}

/// Copies of a session; each has the original's limits and end.
///
/// # Errors
/// As for [`show`], and too many sessions.
pub async fn fork(app: &App, caller: &Caller, id: &SessionId, count: u32) -> Result<Vec<Session>, Error> {
    if !(1..=MAX_FORK).contains(&count) {
        return Err(Problem::invalid(format!("count is {count}; 1 to {MAX_FORK} are allowed")).into());
    }
    let session = find(app, caller, id).await?;
    let worker = app.workers.named(&session.row.worker)?;
    room_for(app, caller, u64::from(count)).await?;
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
    app.store.insert_sessions(&rows).await?;
    match worker.ask::<Vec<WorkerSessionInfo>>(ask).await {
        Ok(infos) => {
            let cached = rows.into_iter().map(|row| app.sessions.put(row));
            Ok(cached.zip(infos).map(|(session, info)| view(&session, info)).collect())
        }
        Err(error) => {
            app.store.delete_sessions(&ids).await?;
            Err(lost_if_unknown(error))
        }
    }
}

/// Ends a session. One whose worker has forgotten it, or is no longer among the workers, ends too.
///
/// # Errors
/// [`Problem::not_found`], or that its worker cannot be asked now.
pub async fn delete(app: &App, caller: &Caller, id: &SessionId) -> Result<(), Error> {
    let session = find(app, caller, id).await?;
    delete_at_worker(app, &session.row).await?;
    app.store.delete_sessions(std::slice::from_ref(id)).await?;
    app.sessions.remove(id);
    Ok(())
}

pub(super) async fn delete_at_worker(app: &App, row: &SessionRow) -> Result<(), Error> {
    let Ok(worker) = app.workers.named(&row.worker) else { return Ok(()) };
    let request = WorkerRequest::new(Method::DELETE, format!("/sessions/{}", row.id), &row.organization);
    match worker.ask_bytes(request).await {
        Ok(_) => Ok(()),
        Err(Error::Refused(problem)) if matches!(problem.status, 404 | 410) => Ok(()),
        Err(error) => Err(error),
    }
}
