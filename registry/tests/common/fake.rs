//! An in-memory registry that implements the protocol and misbehaves on request.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofferdam_registry::Digest;
use serde::Deserialize;

use super::http::{Handled, Request, serve};
use super::quirks::{Broken, Quirks};
use super::uploads::{place, upload};

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "hunter2-never-shown";
const TOKEN: &str = "token-never-shown";

/// A fault, and the requests that it applies to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trouble {
    /// A method, a space, and a part of the path with its query.
    pub when: String,
    /// The number of matching requests to let through first.
    #[serde(default)]
    pub skip: usize,
    /// The number of times. Unlimited if absent.
    pub times: Option<usize>,
    /// Bytes of the body to read, and to keep for an upload, before the fault.
    #[serde(default)]
    pub read: usize,
    #[serde(default)]
    pub pause_ms: u64,
    /// `close`, `hang`, `endless` (a body), `huge` (headers) or `garbage`. An answer if absent.
    pub act: Option<String>,
    pub status: Option<u16>,
    /// Headers to add to the answer, from here or from the registry. `${other}` is another server's address, `${self}`
    /// its own, `${location}` the upload's.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
    /// Forget the upload.
    #[serde(default)]
    pub forget: bool,
    /// Drop bytes from the end of the upload.
    #[serde(default)]
    pub lose: usize,
    #[serde(skip)]
    pub seen: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    #[default]
    Open,
    Basic,
    Token,
}

#[derive(Default)]
pub(crate) struct State {
    pub access: Access,
    pub quirks: Quirks,
    pub troubles: Vec<Trouble>,
    /// `repository digest`.
    pub blobs: HashMap<(String, Digest), Vec<u8>>,
    pub manifests: HashMap<(String, String), (String, Vec<u8>)>,
    pub uploads: HashMap<String, Vec<u8>>,
    /// The sizes of each upload's chunks.
    pub chunks: HashMap<String, Vec<usize>>,
    /// `METHOD path?query`, in order of arrival.
    pub log: Vec<String>,
    /// Authorization headers that the other server received.
    pub leaked: Vec<String>,
    /// Bytes of bodies received.
    pub received: usize,
    pub most_uploads: usize,
    next: usize,
    pub own: String,
    other: String,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub address: String,
    /// The second server's address, a different host to clients.
    pub other: String,
    pub state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) async fn start(access: Access, troubles: Vec<Trouble>) -> Self {
        Self::like(Quirks { access, ..Quirks::default() }, troubles).await
    }

    pub(crate) async fn like(quirks: Quirks, troubles: Vec<Trouble>) -> Self {
        let state = State { access: quirks.access, quirks, troubles, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let (mine, theirs) = (Arc::clone(&state), Arc::clone(&state));
        let address = serve("127.0.0.1", move |request| boxed(Arc::clone(&mine), request, false)).await;
        let other = serve("127.0.0.2", move |request| boxed(Arc::clone(&theirs), request, true)).await;
        {
            let mut state = state.lock().unwrap();
            state.own.clone_from(&address);
            state.other.clone_from(&other);
        }
        Self { address, other, state }
    }

    pub(crate) fn requests(&self, start: &str) -> usize {
        self.state.lock().unwrap().log.iter().filter(|line| line.starts_with(start)).count()
    }
}

fn boxed(state: Arc<Mutex<State>>, request: Request, other: bool) -> Handled {
    Box::pin(handle(state, request, other))
}

pub(crate) type Answer = (u16, Vec<(String, String)>, Vec<u8>);

async fn handle(state: Arc<Mutex<State>>, mut request: Request, other: bool) -> Option<Request> {
    let query = request.query.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&");
    let line = format!("{} {}?{query}", request.method, request.path);
    let trouble = {
        let mut state = state.lock().unwrap();
        state.log.push(line.clone());
        if other && !request.header("authorization").is_empty() {
            let sent = request.header("authorization").to_owned();
            state.leaked.push(sent);
        }
        state.troubles.iter_mut().find_map(|trouble| {
            let (method, part) = trouble.when.split_once(' ').unwrap_or((&trouble.when, ""));
            if method != request.method || !line.contains(part) {
                return None;
            }
            trouble.seen += 1;
            let active = trouble.seen > trouble.skip;
            let active = active && trouble.times.is_none_or(|times| trouble.seen <= trouble.skip + times);
            active.then(|| trouble.clone())
        })
    };
    let id = request.path.rsplit('/').next().unwrap_or_default().to_owned();
    let fill = |state: &State, text: &str| {
        let text = text.replace("${other}", &state.other).replace("${self}", &state.own);
        text.replace("${location}", &request_location(&id))
    };
    let mut extra = Vec::new();
    if let Some(trouble) = trouble {
        let part = request.body(trouble.read).await;
        {
            let mut state = state.lock().unwrap();
            state.received += part.len();
            let broken = if trouble.act.as_deref() == Some("close") { state.quirks.broken } else { Broken::Kept };
            if let Some(upload) = state.uploads.get_mut(&id).filter(|_| broken == Broken::Kept) {
                upload.extend_from_slice(&part);
                upload.truncate(upload.len().saturating_sub(trouble.lose));
            }
            if trouble.forget || broken == Broken::Fatal {
                state.uploads.remove(&id);
            }
            extra = trouble.headers.iter().map(|(name, value)| (name.clone(), fill(&state, value))).collect();
        }
        tokio::time::sleep(Duration::from_millis(trouble.pause_ms)).await;
        match (trouble.act.as_deref(), trouble.status) {
            (Some("close"), _) => return None,
            (Some("hang"), _) => tokio::time::sleep(Duration::from_secs(600)).await,
            (Some("endless"), status) => {
                let head = format!("HTTP/1.1 {} x\r\ntransfer-encoding: chunked\r\n\r\n", status.unwrap_or(200));
                let mut on = request.raw(head.as_bytes()).await;
                while on {
                    on = request.raw(format!("10000\r\n{}\r\n", "x".repeat(65_536)).as_bytes()).await;
                }
                return None;
            }
            (Some("huge"), _) => {
                let mut on = request.raw(b"HTTP/1.1 200 x\r\n").await;
                let line = format!("x-a: {}\r\n", "y".repeat(8_000));
                while on {
                    on = request.raw(line.as_bytes()).await;
                }
                return None;
            }
            (Some("garbage"), _) => {
                request.raw(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
                return None;
            }
            (Some(other), _) => panic!("no such act: {other}"),
            (None, Some(status)) => {
                let body = fill(&state.lock().unwrap(), &trouble.body);
                let goes_on = request.answer(status, &extra, body.as_bytes()).await;
                return goes_on.then_some(request);
            }
            (None, None) => {}
        }
    }
    let most = state.lock().unwrap().quirks.body_max;
    let body = request.body(most.map_or(usize::MAX, |most| most + 1)).await;
    if most.is_some_and(|most| body.len() > most) {
        let page = b"<html><head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>";
        let goes_on = request.answer(413, &extra, page).await;
        return goes_on.then_some(request);
    }
    if !request.complete() {
        return None;
    }
    let (status, mut headers, bytes) = respond(&mut state.lock().unwrap(), &request, &body, other);
    for (name, value) in extra {
        headers.retain(|(old, _)| *old != name);
        headers.push((name, value));
    }
    request.answer(status, &headers, &bytes).await.then_some(request)
}

fn request_location(id: &str) -> String {
    format!("/v2/team/agent/blobs/uploads/{id}")
}

fn respond(state: &mut State, request: &Request, body: &[u8], other: bool) -> Answer {
    let plain = |status| (status, Vec::new(), Vec::new());
    let with = |status, headers: &[(&str, String)]| {
        (status, headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect(), Vec::new())
    };
    state.received += body.len();
    let auth = request.header("authorization");
    let quirks = state.quirks.clone();
    let basic = format!("Basic {}", base64_of(&format!("{USER}:{PASSWORD}")));
    if request.path == "/token" {
        if auth != basic && state.access == Access::Token && !auth.is_empty() {
            return plain(401);
        }
        let wanted = request.query.get("scope").cloned().unwrap_or_default();
        state.next += 1;
        let token = if auth == basic { format!("{TOKEN}-{}-{wanted}", state.next) } else { "anonymous".to_owned() };
        return (200, Vec::new(), format!(r#"{{"token":"{token}","expires_in":300}}"#).into_bytes());
    }
    if !other {
        let host = if quirks.token_elsewhere { &state.other } else { &state.own };
        let scope = "repository:team/agent:pull,push";
        let (right, challenge) = match state.access {
            Access::Open => (true, String::new()),
            Access::Basic => (auth == basic, "Basic realm=\"test\"".to_owned()),
            Access::Token => (
                auth.starts_with(&format!("Bearer {TOKEN}-")),
                format!("Bearer realm=\"http://{host}/token\",service=\"test\",scope=\"{scope}\""),
            ),
        };
        if !right {
            return with(401, &[("www-authenticate", challenge)]);
        }
    }
    if request.path == "/v2/" {
        return plain(200);
    }
    let Some(rest) = request.path.strip_prefix("/v2/") else { return plain(404) };
    if let Some((repository, reference)) = rest.split_once("/manifests/") {
        let key = (repository.to_owned(), reference.to_owned());
        return match request.method.as_str() {
            "PUT" => {
                if let Some(refuses) = &quirks.refuses
                    && (request.header("content-type").contains(&refuses.form)
                        || refuses.form.starts_with("application/vnd.in-toto")
                            && String::from_utf8_lossy(body).contains(&refuses.form))
                {
                    return (refuses.status, Vec::new(), refuses.body.clone().into_bytes());
                }
                let digest = Digest::of(body);
                if reference.parse::<Digest>().is_ok_and(|named| named != digest) {
                    return plain(400);
                }
                let there = state.manifests.contains_key(&key);
                if quirks.immutable && there {
                    let body =
                        r#"{"errors":[{"code":"TAG_INVALID","message":"the tag exists and tags are immutable"}]}"#;
                    return (400, Vec::new(), body.as_bytes().to_vec());
                }
                let value = (request.header("content-type").to_owned(), body.to_vec());
                state.manifests.insert((repository.to_owned(), digest.to_string()), value.clone());
                state.manifests.insert(key, value);
                if quirks.loses_answer && !there {
                    return plain(502);
                }
                let shown = digest.to_string();
                let shown = if quirks.bare_digest { shown.trim_start_matches("sha256:").to_owned() } else { shown };
                with(201, &[("docker-content-digest", shown)])
            }
            _ => match state.manifests.get(&key) {
                Some((kind, bytes)) => {
                    let headers = vec![
                        ("content-type".to_owned(), kind.clone()),
                        ("docker-content-digest".to_owned(), Digest::of(bytes).to_string()),
                    ];
                    (200, headers, bytes.clone())
                }
                None => plain(404),
            },
        };
    }
    let Some((repository, rest)) = rest.split_once("/blobs/") else { return plain(404) };
    let repository = repository.to_owned();
    if rest == "uploads/" {
        if let (Some(digest), Some(from)) = (request.query.get("mount"), request.query.get("from")) {
            let digest: Digest = digest.parse().unwrap();
            if let Some(bytes) = state.blobs.get(&(from.clone(), digest)).cloned() {
                state.blobs.insert((repository, digest), bytes);
                return plain(201);
            }
        }
        state.next += 1;
        let id = format!("u{}", state.next);
        state.uploads.insert(id.clone(), Vec::new());
        state.most_uploads = state.most_uploads.max(state.uploads.len());
        let mut headers = vec![("location", place(state, &repository, &id)), ("range", "0-0".to_owned())];
        if quirks.names_min {
            headers.push(("oci-chunk-min-length", quirks.chunk_min.to_string()));
        }
        return with(202, &headers);
    }
    if let Some(id) = rest.strip_prefix("uploads/") {
        return upload(state, request, &repository, id, body);
    }
    if request.method == "HEAD" && quirks.no_head {
        return plain(405);
    }
    match rest.parse::<Digest>().ok().and_then(|digest| state.blobs.get(&(repository, digest))) {
        Some(bytes) => (200, Vec::new(), bytes.clone()),
        None => plain(404),
    }
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
