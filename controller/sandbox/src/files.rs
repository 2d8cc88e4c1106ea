//! Files of runs and sessions: paths are checked here, bytes are passed on to and from the worker.

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::{Problem, RunId, SessionId, normalize_path};
use cofferdam_core::Caller;
use cofferdam_workers::{Busy, WorkerRequest};
use http::{HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::sessions::{InUse, lost_if_unknown};
use crate::{Error, Sandboxes, run_ids};

/// Characters of a path that a URI cannot carry as they are.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b'~');

/// A checked path in the form that a URI can carry.
fn in_uri(path: &str) -> Result<String, Error> {
    let path = normalize_path(path).map_err(|e| Problem::invalid(format!("{path:?}: {e}")))?;
    Ok(utf8_percent_encode(&path, ESCAPED).to_string())
}

impl Sandboxes {
    /// A file that a run made.
    ///
    /// # Errors
    /// [`Problem::not_found`], also for a run of another key.
    pub async fn run_file(&self, caller: &Caller, run: &str, path: &str) -> Result<Response<Busy>, Error> {
        let gone = || Problem::not_found("There is no such run, or its files are no longer kept.");
        let path = in_uri(path)?;
        let id = RunId::parse(run).map_err(|_| gone())?;
        let worker = run_ids::worker_tag(&id, &caller.key).and_then(|tag| self.workers.tagged(tag)).ok_or_else(gone)?;
        let request = WorkerRequest::new(Method::GET, format!("/runs/{id}/files/{path}"), &caller.organization);
        Ok(worker.send(request).await?)
    }

    /// A file of a session, or the list of all its files if there is no path. The session counts as in use until the
    /// second value is dropped.
    ///
    /// # Errors
    /// [`Problem::not_found`], [`Problem::session_lost`], or an invalid path.
    pub async fn session_files(
        &self,
        caller: &Caller,
        id: &SessionId,
        path: Option<&str>,
    ) -> Result<(Response<Busy>, InUse), Error> {
        let tail = path.map(in_uri).transpose()?.map(|path| format!("/{path}")).unwrap_or_default();
        let session = self.find_session(caller, id).await?;
        let worker = self.workers.named(&session.row.worker)?;
        let in_use = session.enter();
        let request = WorkerRequest::new(Method::GET, format!("/sessions/{id}/files{tail}"), &caller.organization);
        let response = worker.send(request).await?;
        // There is no such file, or the worker does not have the session any more.
        if response.status() == StatusCode::NOT_FOUND {
            self.show_session(caller, id).await?;
        }
        Ok((response, in_use))
    }

    /// Writes a file into a session's working folder.
    ///
    /// # Errors
    /// As [`Self::session_files`], or the worker's refusal.
    pub async fn put_session_file(
        &self,
        caller: &Caller,
        id: &SessionId,
        path: &str,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let path = in_uri(path)?;
        let session = self.find_session(caller, id).await?;
        let worker = self.workers.named(&session.row.worker)?;
        let _in_use = session.enter();
        let mut request = WorkerRequest::new(Method::PUT, format!("/sessions/{id}/files/{path}"), &caller.organization);
        request.content_type = Some(HeaderValue::from_static("application/octet-stream"));
        request.body = Body::from(bytes);
        worker.ask_bytes(request).await.map_err(lost_if_unknown)?;
        Ok(())
    }
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
