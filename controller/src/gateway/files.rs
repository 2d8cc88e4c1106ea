//! A tool's folder: handed to a call when it begins, taken back when it has ended well. What is in it is the worker's
//! to read; here it is bytes, counted against the grant and against what this process may hold.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::FilesGrant;
use cofferdam_contract::uplink::VERSION_HEADER;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::Admission;
use super::body::GatewayBody;
use super::refusal::Refusal;
use super::serve::read;
use crate::services::App;

/// Archives that are in this process at once, in MiB; further ones wait.
pub(super) const ROOM: usize = 160;

/// `/files/load` and `/files/save`.
///
/// # Errors
/// No grant, a quota, or a folder that another call has changed meanwhile.
pub async fn files(
    app: &App,
    admission: &Arc<Admission>,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Refusal> {
    let pass = &admission.pass;
    let (Some(grant), Some(tool)) = (&pass.grants.files, &pass.tool) else {
        return Err(Refusal::policy("No grant covers a folder of the tool's own; grant it with grants.files."));
    };
    match request.uri().path() {
        "/files/load" => load(app, admission, grant, tool).await,
        "/files/save" if grant.read_only => Err(Refusal::policy("grants.files is granted for reading only.")),
        "/files/save" => save(app, admission, grant, tool, request).await,
        _ => Err(Refusal::not_found("A folder has `load` and `save`.")),
    }
}

async fn room(app: &App, bytes: u64) -> Result<OwnedSemaphorePermit, Refusal> {
    let share = usize::try_from(bytes >> 20).unwrap_or(ROOM).saturating_add(1).min(ROOM);
    let places = u32::try_from(share).unwrap_or(u32::MAX);
    Arc::clone(&app.gateway.folders).acquire_many_owned(places).await.map_err(|_| Refusal::token())
}

async fn load(
    app: &App,
    admission: &Admission,
    grant: &FilesGrant,
    tool: &str,
) -> Result<Response<GatewayBody>, Refusal> {
    let held = room(app, grant.archive_bytes()).await?;
    let folder = app.store.load_folder(&admission.pass.caller.organization, tool).await?;
    let folder = folder.ok_or_else(|| Refusal::not_found("The tool was deleted."))?;
    let body = Full::new(folder.archive).map_err(|never| match never {});
    // Held until the last of it is on its way.
    let body = body.map_frame(move |frame| {
        let _ = &held;
        frame
    });
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from(folder.version));
    Ok(response)
}

async fn save(
    app: &App,
    admission: &Admission,
    grant: &FilesGrant,
    tool: &str,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Refusal> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let version: i64 = header(VERSION_HEADER)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Refusal::malformed(format!("the header {VERSION_HEADER} is needed: a number")))?;
    let most = FilesGrant::MOST.archive_bytes();
    let announced = header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()).unwrap_or(most);
    let _held = room(app, announced.min(most)).await?;
    let archive = read(request, usize::try_from(most).unwrap_or(usize::MAX)).await?;
    let organization = &admission.pass.caller.organization;
    if archive.len() as u64 > grant.archive_bytes() {
        // One that was larger once, and was granted less since, may shrink.
        let size = app.store.folder_size(organization, tool).await?;
        if size.is_none_or(|size| archive.len() as u64 > size.bytes) {
            let detail =
                format!("The folder would take more than grants.files.max_bytes ({}) allows.", grant.max_bytes);
            return Err(Refusal::too_large(detail));
        }
    }
    if !app.store.save_folder(organization, tool, version, &archive).await? {
        return Err(Refusal::conflict(
            "The tool's folder was changed by another call meanwhile, or the tool was deleted; nothing of this call's \
             changes was kept. Call it again.",
        ));
    }
    Ok(Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()))
}

/// Room for archives of all folders together.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ROOM))
}
