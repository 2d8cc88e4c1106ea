//! A tool's own folder during one call: fetched from the gateway before the tool starts, and sent back if the call
//! succeeded and changed it. Without a gateway (a trial at deployment) it is empty and nothing is kept.

use std::sync::Arc;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use bytes::Bytes;
use cofferdam_contract::uplink::{REFUSED_HEADER, VERSION_HEADER};
use cofferdam_contract::{FilesGrant, Problem};
use cofferdam_host_api::{
    ArchiveError, Base, FsError, GatewayError, GatewayHandle, Interrupt, Interrupted, Quota, Vfs,
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use sha2::{Digest, Sha256};

use super::memory::Share;

/// The longest refusal from the gateway.
const MAX_REFUSAL: usize = 64 << 10;

/// A folder could not be fetched or kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Refused by the gateway.
    #[error("{}", .0.detail)]
    Refused(Problem),
    #[error("the gateway could not be reached: {0}")]
    Gateway(#[from] GatewayError),
    #[error("the gateway's copy cannot be read: {0}")]
    Archive(#[from] ArchiveError),
    #[error("the worker's memory for all calls is used up")]
    Memory,
}

/// The stored state of the folder when the call began.
struct Kept {
    version: HeaderValue,
    digest: [u8; 32],
    changes: u64,
    /// Nothing was stored.
    empty: bool,
}

/// A folder while a call has it.
pub(super) struct Folder {
    grant: FilesGrant,
    gateway: Option<GatewayHandle>,
    kept: Option<Kept>,
}

impl Folder {
    /// Fetches the current folder, and the state needed to save it later.
    pub(super) fn fetch(
        base: &Arc<Base>,
        (grant, open_files): (FilesGrant, u64),
        gateway: Option<&GatewayHandle>,
        interrupt: &Interrupt,
        share: &Share,
    ) -> Result<(Vfs, Self), FolderError> {
        let quota = Quota { disk_bytes: grant.max_bytes, files: grant.max_files, open_files };
        let fetched = match gateway {
            Some(gateway) => Some(interrupt.block_on(load(gateway, share))??),
            None => None,
        };
        let (vfs, kept) = match fetched {
            Some((archive, version)) => {
                let vfs = opened(base, quota, &archive)?;
                share.shrink(archive.len());
                let (digest, empty) = (Sha256::digest(&archive).into(), archive.is_empty());
                let kept = Kept { version, digest, changes: vfs.changes(), empty };
                (vfs, Some(kept))
            }
            None => (opened(base, quota, &[])?, None),
        };
        if grant.read_only {
            vfs.set_read_only();
        }
        Ok((vfs, Self { grant, gateway: gateway.cloned(), kept }))
    }

    /// Sends the folder back if it has changed.
    pub(super) fn keep(self, vfs: &Vfs, interrupt: &Interrupt, share: &Share) -> Result<(), FolderError> {
        let (Some(gateway), Some(kept)) = (self.gateway, self.kept) else { return Ok(()) };
        if self.grant.read_only || vfs.changes() == kept.changes {
            return Ok(());
        }
        let usage = vfs.usage();
        // A failed comparison counts as a change.
        if kept.empty && usage.files == 0 {
            return Ok(());
        }
        let size = FilesGrant { max_bytes: usage.bytes, max_files: usage.files, ..self.grant }.archive_bytes();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !share.grow(size) {
            return Err(FolderError::Memory);
        }
        let mut archive = Vec::with_capacity(size);
        vfs.to_archive(&mut archive)?;
        if kept.digest == <[u8; 32]>::from(Sha256::digest(&archive)) {
            return Ok(());
        }
        let request = Request::post("/files/save").header(VERSION_HEADER, kept.version);
        let request = request.header(CONTENT_TYPE, "application/octet-stream").body(Bytes::from(archive));
        let request = request.map_err(|_| GatewayError::Unreachable)?;
        let answer = interrupt.block_on(gateway.exchange(request, MAX_REFUSAL))??;
        if good(&answer, answer.headers()) { Ok(()) } else { Err(refused(answer.body())) }
    }
}

/// Existing contents stay, even if the grant was larger once.
fn opened(base: &Arc<Base>, quota: Quota, archive: &[u8]) -> Result<Vfs, FolderError> {
    if archive.is_empty() {
        return Ok(Vfs::new(Arc::clone(base), quota).map_err(ArchiveError::from)?);
    }
    let most = Quota { disk_bytes: u64::MAX, files: u64::MAX, ..quota };
    let vfs = Vfs::from_archive(Arc::clone(base), most, archive).map_err(|error| match error {
        ArchiveError::Fs(FsError::NoSpace) => FolderError::Memory,
        error => error.into(),
    })?;
    vfs.set_quota(quota);
    Ok(vfs)
}

fn good<T>(answer: &Response<T>, headers: &HeaderMap) -> bool {
    answer.status().is_success() && !headers.contains_key(REFUSED_HEADER)
}

fn refused(body: &[u8]) -> FolderError {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    FolderError::Refused(problem.unwrap_or_else(|| Problem::internal("the gateway's answer is invalid")))
}

/// The archive, counted in the share, and its version.
async fn load(gateway: &GatewayHandle, share: &Share) -> Result<(Bytes, HeaderValue), FolderError> {
    let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post("/files/load").body(body).map_err(|_| GatewayError::Unreachable)?;
    let answer = gateway.send(request).await?;
    let most = if good(&answer, answer.headers()) {
        usize::try_from(FilesGrant::MAXIMUM.archive_bytes()).unwrap_or(usize::MAX)
    } else {
        MAX_REFUSAL
    };
    let said = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let said: usize = said.unwrap_or(most).min(most);
    if !share.grow(said) {
        return Err(FolderError::Memory);
    }
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, said)
        .collect()
        .await
        .map_err(|error| if error.is::<LengthLimitError>() { GatewayError::TooLong } else { GatewayError::Broken })?;
    let bytes = body.to_bytes();
    share.shrink(said - bytes.len().min(said));
    let head = Response::from_parts(head, ());
    match head.headers().get(VERSION_HEADER) {
        Some(version) if good(&head, head.headers()) => Ok((bytes, version.clone())),
        _ => Err(refused(&bytes)),
    }
}
