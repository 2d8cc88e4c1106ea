//! `/uploads/{token}`: receives an image archive. The link authorizes; no key is needed. Bodies have any size up to the
//! operator's limit and are streamed, never buffered whole. The headers are those of the IETF draft "Resumable Uploads
//! for HTTP"; clients without them can use `Content-Range`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_contract::{AgentId, OrganizationId, Problem};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use cofferdam_core::{Caller, Scopes};
use cofferdam_deployments::{Refusal, Sending, Sent, Uploaded, Uploads};
use cofferdam_http::ApiError;
use cofferdam_http::Json;
use cofferdam_http::Peer;
use cofferdam_identity::{Audit, Outcome};
use cofferdam_uploads::{At, Progress};

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// Not in the draft: `?0` says that the client cannot send anything twice.
const UPLOAD_RESUMABLE: HeaderName = HeaderName::from_static("upload-resumable");
const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");

/// After an early answer the rest of the body is read and discarded, up to this many bytes: most clients read the
/// answer only after they have sent everything, and would lose it if the connection were closed before.
const MAX_DISCARDED_BYTES: usize = 256 << 20;
const DISCARD_TIME: std::time::Duration = std::time::Duration::from_secs(15);

/// A part of an upload has arrived.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadedPart {
    received_bytes: u64,
    complete: bool,
}

/// Upload an image archive.
///
/// The body is the output of `docker save` or an OCI layout as a tar, plain or compressed with gzip or zstd. It is
/// pushed to the registry while it arrives; the answer is sent once the image is complete. Without `Upload-Offset` or
/// `Content-Range` the upload starts from the beginning.
#[utoipa::path(put, path = "/uploads/{token}", tag = "uploads",
    params(("token" = String, Path, description = "From the link"),
        ("upload-offset" = Option<u64>, Header, description = "Continue at this offset"),
        ("upload-complete" = Option<String>, Header, description = "`?0` if another request sends more"),
        ("upload-resumable" = Option<String>, Header, description = "`?0` if the client cannot continue: the upload fails as soon as the connection breaks"),
        ("content-range" = Option<String>, Header, description = "`bytes N-M/T` replaces the other two headers")),
    request_body(content = Vec<u8>, content_type = "application/gzip"),
    responses((status = 200, description = "The image is in the registry", body = Uploaded),
        (status = 400, description = "The body broke off, or its lengths contradict each other", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The link is invalid or has expired", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "No data arrived for too long; the upload can be continued", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another client is sending, or the offset is wrong: see Upload-Offset in the answer", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The archive is larger than the operator allows", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is a form, or has an unknown Content-Encoding", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The image cannot be deployed; the detail says what to fix", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many uploads at once; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The registry failed", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn put_upload(
    State(uploads): State<Arc<Uploads>>,
    State(audit): State<Arc<Audit>>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    take((&uploads, &audit), &token, request, None).await
}

/// Continue an upload at `Upload-Offset`.
#[utoipa::path(patch, path = "/uploads/{token}", tag = "uploads",
    params(("token" = String, Path, description = "From the link"),
        ("upload-offset" = u64, Header, description = "The offset that HEAD returns"),
        ("upload-complete" = Option<String>, Header, description = "`?0` if another request sends more")),
    request_body(content = Vec<u8>, content_type = "application/partial-upload"),
    responses((status = 200, description = "As for PUT", body = Uploaded),
        (status = 409, description = "The offset is wrong: see Upload-Offset in the answer", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn patch_upload(
    State(uploads): State<Arc<Uploads>>,
    State(audit): State<Arc<Audit>>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    let missing = "PATCH continues an upload: set Upload-Offset to the offset that HEAD returns, or use PUT.";
    take((&uploads, &audit), &token, request, Some(missing)).await
}

/// Show an upload's progress.
#[utoipa::path(head, path = "/uploads/{token}", tag = "uploads",
    params(("token" = String, Path, description = "From the link")),
    responses((status = 204, description = "Upload-Offset, Upload-Complete, Upload-Limit"),
        (status = 404, description = "The link is invalid or has expired")))]
pub(super) async fn head_upload(State(uploads): State<Arc<Uploads>>, Path(token): Path<String>) -> Response {
    match uploads.progress(&token).await {
        Ok(progress) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            let limit = format!("max-size={}", uploads.max_image_bytes());
            set(response.headers_mut(), UPLOAD_LIMIT, &limit);
            tell(response.headers_mut(), &progress);
            response
        }
        Err(refusal) => refused(refusal),
    }
}

/// `offset_wanted`: the error for a request without an offset; `None` if the offset is optional.
async fn take(
    (uploads, audit): (&Uploads, &Audit),
    token: &str,
    request: Request,
    offset_wanted: Option<&str>,
) -> Response {
    let (parts, mut body) = request.into_parts();
    let (result, begun) = match sending(&parts.headers, &body, offset_wanted) {
        Ok(sending) => {
            let result = uploads.send(token, sending, &mut body).await;
            let begun = result.as_ref().map_or_else(|refusal| refusal.reading, |_| true);
            (result, begun)
        }
        Err(error) => (Err(error.into()), false),
    };
    // A client that waits for "100 Continue" has sent no body to discard.
    if (begun || !parts.headers.contains_key(EXPECT)) && !body.is_end_stream() {
        tokio::spawn(discard(body));
    }
    match result {
        Ok(Sent::All(uploaded)) => {
            let length = uploaded.received_bytes;
            let address = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
            note(audit, uploads.named(token), address, &uploaded).await;
            let mut response = Json(*uploaded).into_response();
            tell(response.headers_mut(), &Progress { offset: length, length: Some(length), complete: true });
            response
        }
        Ok(Sent::Part(progress)) => {
            let part = UploadedPart { received_bytes: progress.offset, complete: progress.complete };
            let mut response = Json(part).into_response();
            tell(response.headers_mut(), &progress);
            response
        }
        Err(refusal) => refused(refusal),
    }
}

/// Notes an image that came in. The link has authorized it, so no key is known; the entry of the link names the one that made it.
async fn note(audit: &Audit, named: Option<(OrganizationId, AgentId)>, address: Option<IpAddr>, uploaded: &Uploaded) {
    let Some((organization, agent)) = named else { return };
    let sender = Caller::new("", organization, Scopes::new(Vec::new()));
    let detail = json!({"version": uploaded.deployment.number, "received_bytes": uploaded.received_bytes});
    let ticket = audit.note(&sender, address, "agent.upload", agent.as_str(), Outcome::Done, &detail);
    audit.written(ticket).await;
}

async fn discard(mut body: Body) {
    let read = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > MAX_DISCARDED_BYTES {
                return;
            }
        }
    };
    // The answer is on its way either way.
    let _ = tokio::time::timeout(DISCARD_TIME, read).await;
}

fn refused(refusal: Refusal) -> Response {
    let Refusal { error, progress, retry_after, .. } = refusal;
    let mut response = ApiError::from(error).into_response();
    if let Some(progress) = progress {
        tell(response.headers_mut(), &progress);
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn tell(headers: &mut HeaderMap, progress: &Progress) {
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(progress.offset));
    headers.insert(UPLOAD_COMPLETE, HeaderValue::from_static(if progress.complete { "?1" } else { "?0" }));
    if let Some(length) = progress.length {
        headers.insert(UPLOAD_LENGTH, HeaderValue::from(length));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Reads the headers that describe the body.
fn sending(headers: &HeaderMap, body: &Body, offset_wanted: Option<&str>) -> Result<Sending, Problem> {
    let malformed = |detail: String| Problem::malformed(detail);
    let text = |name: &HeaderName| match headers.get(name) {
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(malformed(format!("{name} is not ASCII"))),
        },
        None => Ok(None),
    };
    let number = |name: &HeaderName| match text(name)? {
        Some(text) => whole(text).map(Some).ok_or_else(|| malformed(format!("{name} must be a whole number of bytes"))),
        None => Ok(None),
    };
    if let Some(encoding) = text(&CONTENT_ENCODING)?
        && !["identity", "gzip", "x-gzip", "zstd"].contains(&encoding)
    {
        let detail = "Content-Encoding must be identity, gzip or zstd: send the image archive as it is.";
        return Err(Problem::unsupported_media(detail));
    }
    if text(&CONTENT_TYPE)?.is_some_and(|media_type| media_type.to_ascii_lowercase().starts_with("multipart/")) {
        let detail = "The body is a form (multipart), and the bare archive is wanted: with curl, `-T FILE` or \
                      `--data-binary @FILE` instead of `-F`.";
        return Err(Problem::unsupported_media(detail));
    }
    let range = match text(&CONTENT_RANGE)? {
        Some(text) => {
            Some(range(text).ok_or_else(|| malformed("Content-Range: use `bytes FIRST-LAST/TOTAL`".to_owned()))?)
        }
        None => None,
    };
    let complete = match text(&UPLOAD_COMPLETE)? {
        Some("?1") => Some(true),
        Some("?0") => Some(false),
        Some(_) => return Err(malformed("Upload-Complete must be `?1` or `?0`".to_owned())),
        None => None,
    };
    let resumable = match text(&UPLOAD_RESUMABLE)? {
        None | Some("?1") => true,
        Some("?0") => false,
        Some(_) => return Err(malformed("Upload-Resumable must be `?1` or `?0`".to_owned())),
    };
    let offset = number(&UPLOAD_OFFSET)?;
    if let (Some(offset), Some(range)) = (offset, &range)
        && offset != range.first
    {
        return Err(malformed("Upload-Offset and Content-Range differ.".to_owned()));
    }
    let body_length = number(&CONTENT_LENGTH)?.or_else(|| body.size_hint().exact());
    if let (Some(length), Some(range)) = (body_length, &range)
        && range.length != length
    {
        return Err(malformed(format!("Content-Range announces {} bytes, and the body has {length}.", range.length)));
    }
    let length = number(&UPLOAD_LENGTH)?.or(range.as_ref().and_then(|range| range.total));
    let reaches_end = |range: &Range| range.total.is_none_or(|total| range.first.saturating_add(range.length) >= total);
    let last = complete.unwrap_or_else(|| range.as_ref().is_none_or(reaches_end));
    let from = match offset.or(range.as_ref().map(|range| range.first)) {
        // A PUT at offset 0 restarts the upload.
        Some(0) if offset_wanted.is_none() => At::Start,
        Some(offset) => At::Offset(offset),
        None => match offset_wanted {
            Some(missing) => return Err(malformed(missing.to_owned())),
            None => At::Start,
        },
    };
    Ok(Sending { from, last, length, body_length, resumable })
}

/// Digits only: no sign, no spaces.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

struct Range {
    first: u64,
    length: u64,
    total: Option<u64>,
}

/// `bytes FIRST-LAST/TOTAL`, with `*` for an unknown total.
fn range(text: &str) -> Option<Range> {
    let (bounds, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    let (first, last) = (whole(first)?, whole(last)?);
    let total = if total == "*" { None } else { Some(whole(total)?) };
    let length = last.checked_sub(first)?.checked_add(1)?;
    total.is_none_or(|total| last < total).then_some(Range { first, length, total })
}

#[cfg(test)]
mod tests;
