//! The uploads of the fake registry, with the quirks of the one that it stands for.

use cofferdam_registry::Digest;

use super::fake::{Answer, State};
use super::http::Request;
use super::quirks::Ranges;

/// The place for the next request of an upload.
pub(crate) fn place(state: &State, repository: &str, id: &str) -> String {
    let host = if state.quirks.absolute { format!("http://{}", state.own) } else { String::new() };
    let step = if state.quirks.moves { format!("?_state={}", state.uploads[id].len()) } else { String::new() };
    format!("{host}/v2/{repository}/blobs/uploads/{id}{step}")
}

pub(crate) fn upload(state: &mut State, request: &Request, repository: &str, id: &str, body: &[u8]) -> Answer {
    let plain = |status| (status, Vec::new(), Vec::new());
    let said = |status, code: &str, message: &str| {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        (status, Vec::new(), body.into_bytes())
    };
    let quirks = state.quirks.clone();
    let Some(has) = state.uploads.get(id).map(Vec::len) else {
        return said(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    if quirks.moves && request.query.get("_state") != Some(&has.to_string()) {
        return said(404, "BLOB_UPLOAD_INVALID", "upload resumed at wrong offset");
    }
    let ranged = request.header("content-range").split('-').next().and_then(|text| text.parse::<usize>().ok());
    if quirks.range_max.is_some_and(|most| ranged.is_some() && body.len() > most) {
        let text = "the request body is too large and exceeds the maximum permissible limit of 4.00MiB";
        return (416, Vec::new(), text.as_bytes().to_vec());
    }
    if ranged.is_some_and(|start| start != has) {
        return plain(416);
    }
    let chunks = state.chunks.entry(id.to_owned()).or_default();
    match request.method.as_str() {
        "DELETE" => {
            state.uploads.remove(id);
            return plain(204);
        }
        "GET" if quirks.keeps_quiet => return plain(404),
        "PATCH" => {
            if let Some(status) = quirks.one_patch.filter(|_| !chunks.is_empty()) {
                return plain(status);
            }
            if chunks.last().is_some_and(|last| *last < quirks.chunk_min) {
                return said(400, "BLOB_UPLOAD_INVALID", "a part is smaller than the minimum");
            }
            chunks.push(body.len());
        }
        _ => {}
    }
    let chunks = chunks.clone();
    let stored: &[u8] = if request.method == "PUT" && quirks.only_patch { b"" } else { body };
    state.uploads.get_mut(id).unwrap().extend_from_slice(stored);
    if request.method != "PUT" {
        let size = state.uploads[id].len();
        let end = match quirks.ranges {
            Ranges::LastChunk if request.method == "PATCH" => chunks.last().map_or(0, |last| last - 1),
            Ranges::Exact | Ranges::None | Ranges::LastChunk => size.saturating_sub(1),
            Ranges::OneTooMany => size,
            Ranges::Stuck => chunks.first().map_or(0, |first| first - 1),
        };
        let mut headers = vec![("location".to_owned(), place(state, repository, id))];
        if quirks.ranges != Ranges::None {
            headers.push(("range".to_owned(), format!("0-{end}")));
        }
        let status = if request.method == "PATCH" { quirks.patch_status.unwrap_or(202) } else { 204 };
        return (status, headers, Vec::new());
    }
    let digest: Digest = request.query["digest"].parse().unwrap();
    let bytes = state.uploads.remove(id).unwrap();
    if Digest::of(&bytes) != digest {
        return said(400, "DIGEST_INVALID", "provided digest did not match");
    }
    state.blobs.insert((repository.to_owned(), digest), bytes);
    (201, vec![("docker-content-digest".to_owned(), digest.to_string())], Vec::new())
}
