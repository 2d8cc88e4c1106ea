//! Tools' folders: handed to a call when it begins, taken back when it has ended well. The worker reads and writes what
//! is in them; here a folder is an archive of bytes, counted against the grant and against the memory of this process.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::FilesGrant;
use cofferdam_contract::uplink::VERSION_HEADER;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Gateway;
use crate::admission::Admission;
use crate::body::GatewayBody;
use crate::refusal::Refusal;
use crate::serve::read;
use crate::services::{Answer, Service};

/// Archives that are in memory at once, in MiB; further ones wait.
const MAX_MEMORY_MIB: usize = 160;

/// The memory for archives of all folders together.
pub(crate) struct Folders(Arc<Semaphore>);

impl Default for Folders {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_MEMORY_MIB)))
    }
}

impl Folders {
    /// Waits for the memory for an archive.
    async fn reserve(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Refusal> {
        let mib = usize::try_from(bytes >> 20).unwrap_or(MAX_MEMORY_MIB).saturating_add(1).min(MAX_MEMORY_MIB);
        let permits = u32::try_from(mib).unwrap_or(u32::MAX);
        Arc::clone(&self.0).acquire_many_owned(permits).await.map_err(|_| Refusal::token())
    }
}

/// A tool's folder, as a call may use it.
struct Folder<'a> {
    gateway: &'a Gateway,
    admission: &'a Admission,
    grant: &'a FilesGrant,
    tool: &'a str,
}

/// Tools' folders.
pub(crate) struct Files;

impl Service for Files {
    fn serves(&self, path: &str) -> bool {
        matches!(path, "/files/load" | "/files/save")
    }

    fn answer<'a>(
        &self,
        gateway: &'a Gateway,
        admission: &'a Arc<Admission>,
        request: Request<Incoming>,
    ) -> Answer<'a> {
        Box::pin(files(gateway, admission, request))
    }
}

/// `/files/load` and `/files/save`.
///
/// # Errors
/// No grant, a quota, or a folder that another call has changed meanwhile.
async fn files(
    gateway: &Gateway,
    admission: &Admission,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Refusal> {
    let pass = &admission.pass;
    let (Some(grant), Some(tool)) = (&pass.grants.files, &pass.tool) else {
        return Err(Refusal::policy("No grant covers a folder of the tool's own; grant it with grants.files."));
    };
    let folder = Folder { gateway, admission, grant, tool };
    match request.uri().path() {
        "/files/load" => folder.load().await,
        "/files/save" if grant.read_only => Err(Refusal::policy("grants.files is granted for reading only.")),
        "/files/save" => folder.save(request).await,
        _ => Err(Refusal::not_found("A folder has `load` and `save`.")),
    }
}

impl Folder<'_> {
    async fn load(self) -> Result<Response<GatewayBody>, Refusal> {
        let memory = self.gateway.folders.reserve(self.grant.archive_bytes()).await?;
        let organization = &self.admission.pass.caller.organization;
        let folder = self.gateway.store.load_folder(organization, self.tool).await?;
        let folder = folder.ok_or_else(|| Refusal::not_found("The tool was deleted."))?;
        let body = Full::new(folder.archive).map_err(|never| match never {});
        // Held until the last piece is on its way.
        let body = body.map_frame(move |frame| {
            let _ = &memory;
            frame
        });
        let mut response = Response::new(body.boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        response.headers_mut().insert(VERSION_HEADER, HeaderValue::from(folder.version));
        Ok(response)
    }

    async fn save(self, request: Request<Incoming>) -> Result<Response<GatewayBody>, Refusal> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let version: i64 = header(VERSION_HEADER)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Refusal::malformed(format!("The header {VERSION_HEADER} is required: a number.")))?;
        let max_bytes = FilesGrant::MAXIMUM.archive_bytes();
        let announced = header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()).unwrap_or(max_bytes);
        let _memory = self.gateway.folders.reserve(announced.min(max_bytes)).await?;
        let archive = read(request, usize::try_from(max_bytes).unwrap_or(usize::MAX)).await?;
        let (store, organization) = (&self.gateway.store, &self.admission.pass.caller.organization);
        if archive.len() as u64 > self.grant.archive_bytes() {
            // A folder that is larger than its grant, because the grant was reduced, may shrink.
            let size = store.folder_size(organization, self.tool).await?;
            if size.is_none_or(|size| archive.len() as u64 > size.bytes) {
                return Err(Refusal::too_large(format!(
                    "The folder would take more than grants.files.max_bytes ({}) allows.",
                    self.grant.max_bytes
                )));
            }
        }
        if !store.save_folder(organization, self.tool, version, &archive).await? {
            return Err(Refusal::conflict(
                "The tool's folder was changed by another call meanwhile, or the tool was deleted; nothing of this \
                 call's changes was kept. Call it again.",
            ));
        }
        Ok(Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()))
    }
}
