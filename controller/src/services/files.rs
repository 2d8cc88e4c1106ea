//! Files of runs and sessions: names checked here, bytes passed on to and from the worker.

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::{Problem, RunId, SessionId, normalize_path};
use http::{HeaderValue, Method, Response};

use super::session_cache::InUse;
use super::{App, run_ids, sessions};
use crate::Error;
use crate::auth::Caller;
use crate::workers::{Busy, WorkerRequest};

/// A checked path as it stands in a URI.
fn in_uri(path: &str) -> Result<String, Error> {
    use std::fmt::Write as _;
    let path = normalize_path(path).map_err(|e| Problem::invalid(format!("{path:?}: {e}")))?;
    Ok(path.bytes().fold(String::with_capacity(path.len()), |mut uri, byte| {
        if byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
        uri
    }))
}

/// A file that a run made.
///
/// # Errors
/// [`Problem::not_found`], also where the run is another key's.
pub async fn of_run(app: &App, caller: &Caller, run: &str, path: &str) -> Result<Response<Busy>, Error> {
    let gone = || Problem::not_found("There is no such run, or its files are no longer kept.");
    let path = in_uri(path)?;
    let id = RunId::parse(run).map_err(|_| gone())?;
    let worker = run_ids::worker_tag(&id, &caller.key).and_then(|tag| app.workers.tagged(tag)).ok_or_else(gone)?;
    worker.send(WorkerRequest::new(Method::GET, format!("/runs/{id}/files/{path}"), &caller.organization)).await
}

/// The list of a session's files (`None`), or one of them.
///
/// # Errors
/// [`Problem::not_found`], or a path that cannot be.
pub async fn of_session(
    app: &App,
    caller: &Caller,
    id: &SessionId,
    path: Option<&str>,
) -> Result<(Response<Busy>, InUse), Error> {
    let tail = path.map(in_uri).transpose()?.map(|path| format!("/{path}")).unwrap_or_default();
    let session = sessions::find(app, caller, id).await?;
    let worker = app.workers.named(&session.row.worker)?;
    let in_use = session.enter();
    let request = WorkerRequest::new(Method::GET, format!("/sessions/{id}/files{tail}"), &caller.organization);
    Ok((worker.send(request).await?, in_use))
}

/// Writes a file into a session's working folder.
///
/// # Errors
/// The same as [`of_session`], or the worker's refusal.
pub async fn put(app: &App, caller: &Caller, id: &SessionId, path: &str, bytes: Bytes) -> Result<(), Error> {
    let path = in_uri(path)?;
    let session = sessions::find(app, caller, id).await?;
    let worker = app.workers.named(&session.row.worker)?;
    let _in_use = session.enter();
    let mut request = WorkerRequest::new(Method::PUT, format!("/sessions/{id}/files/{path}"), &caller.organization);
    request.content_type = Some(HeaderValue::from_static("application/octet-stream"));
    request.body = Body::from(bytes);
    worker.ask_bytes(request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_tail_of_a_uri() {
        assert_eq!(in_uri("a b/ä?#%.txt").unwrap(), "a%20b/%C3%A4%3F%23%25.txt");
        for bad in ["../x", "/etc/passwd", "a/", "", "a\0"] {
            assert!(in_uri(bad).is_err(), "{bad:?}");
        }
    }
}
