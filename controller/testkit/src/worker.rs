//! The worker's wire with behaviour chosen by the snippet's text. It runs no code.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cofferdam_contract::run::{Event, TextChunk};
use cofferdam_contract::worker::{
    MAX_RUNS_HEADER, ORGANIZATION_HEADER, SnapshotInfo, WorkerFork, WorkerHealth, WorkerRun, WorkerSession,
    WorkerSessionIds, WorkerSessionInfo,
};
use cofferdam_contract::{Language, Outcome, Problem, SessionId, SessionState, Status, Usage};
use cofferdam_workers::Worker;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode};

#[derive(Default)]
pub struct Seen {
    pub runs: Mutex<Vec<WorkerRun>>,
    /// The most runs that the organization may have, as the last run said.
    pub max_runs: Mutex<Option<String>>,
    pub sessions: Mutex<BTreeMap<SessionId, WorkerSessionInfo>>,
    pub snapshots: Mutex<Vec<String>>,
    pub files: Mutex<BTreeMap<String, Bytes>>,
    pub cancelled: AtomicUsize,
    pub asked_infos: AtomicUsize,
    /// New sessions fail.
    pub refuse_sessions: AtomicBool,
    /// New sessions take this long.
    pub session_delay_ms: AtomicU64,
}

pub struct FakeWorker {
    pub seen: Arc<Seen>,
    pub socket: PathBuf,
}

type Shared = State<Arc<Seen>>;

impl FakeWorker {
    pub fn start(folder: &FsPath, number: usize) -> Self {
        let socket = folder.join(format!("worker-{number}.sock"));
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let seen = Arc::new(Seen::default());
        let router = Router::new()
            .route("/health", get(health))
            .route("/metrics", get(|| async { "# TYPE cofferdam_fake gauge\ncofferdam_fake 1\n# EOF\n" }))
            .route("/runs", post(run))
            .route("/runs/{id}/files/{*path}", get(|Path((_, path)): Path<(String, String)>| async move { path }))
            .route("/sessions", post(create))
            .route("/session-infos", post(infos))
            .route("/sessions/{id}", get(show).delete(end))
            .route("/sessions/{id}/suspend", post(suspend))
            .route("/sessions/{id}/resume", post(show))
            .route("/sessions/{id}/fork", post(fork))
            .route("/sessions/{id}/snapshots/{key}", post(snapshot))
            .route("/snapshots/{key}", delete(|| async { StatusCode::NO_CONTENT }))
            .route("/sessions/{id}/files", get(|| async { Json(Vec::<()>::new()) }))
            .route("/sessions/{id}/files/{*path}", get(get_file).put(put_file))
            .with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { seen, socket }
    }

    pub fn worker(&self) -> Arc<Worker> {
        Worker::local(&self.socket)
    }
}

async fn health() -> Json<WorkerHealth> {
    let kernels = vec!["python 3.15".to_owned()];
    Json(WorkerHealth { kernels, runs_active: 0, runs_waiting: 0, sessions_live: 0, sessions_suspended: 0 })
}

fn refuse(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap();
    (status, [("content-type", "application/problem+json")], serde_json::to_vec(&problem).unwrap()).into_response()
}

struct Cancelled(Arc<Seen>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

fn outcome(run: &WorkerRun, stdout: String) -> Outcome {
    Outcome {
        id: run.id.clone(),
        status: Status::Ok,
        exit_code: Some(0),
        stdout,
        stderr: String::new(),
        results: vec![],
        error: None,
        files: vec![],
        usage: Usage::default(),
        session: run.request.session.clone(),
    }
}

async fn run(State(seen): Shared, headers: HeaderMap, Json(run): Json<WorkerRun>) -> Response {
    assert_eq!(headers[ORGANIZATION_HEADER], "default");
    seen.runs.lock().unwrap().push(run.clone());
    *seen.max_runs.lock().unwrap() = headers.get(MAX_RUNS_HEADER).map(|max| max.to_str().unwrap().to_owned());
    if let Some(session) = &run.request.session
        && !seen.sessions.lock().unwrap().contains_key(session)
    {
        return refuse(Problem::not_found("no such session"));
    }
    let chunk = |text: &str| Event::Stdout(TextChunk { text: text.into() }).to_sse();
    let events = |body| ([("content-type", "text/event-stream")], body).into_response();
    match run.request.code.as_str() {
        "hang" => {
            let _cancelled = Cancelled(Arc::clone(&seen));
            tokio::time::sleep(Duration::from_secs(60)).await;
            Json(outcome(&run, String::new())).into_response()
        }
        "die" => panic!("the connection breaks off here, as it does when a worker dies"),
        "busy" => {
            let mut response = refuse(Problem::overloaded("too many runs"));
            response.headers_mut().insert("retry-after", "7".parse().unwrap());
            response
        }
        "long" => Json(outcome(&run, "x".repeat(3 << 20))).into_response(),
        "events" if headers["accept"] == "text/event-stream" => {
            let end = Event::End(Box::new(outcome(&run, String::new()))).to_sse();
            let blocks = stream::iter([chunk("a"), chunk("b"), end]).map(Ok::<_, Infallible>);
            events(Body::from_stream(blocks))
        }
        "events-die" => {
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("dies"))
            });
            events(Body::from_stream(stream::iter([Ok(chunk("a"))]).chain(broken)))
        }
        "events-hang" => {
            let cancelled = Cancelled(Arc::clone(&seen));
            let first = stream::iter([Ok::<_, Infallible>(chunk("a"))]);
            let rest = stream::pending().map(move |item| {
                let _ = &cancelled;
                item
            });
            events(Body::from_stream(first.chain(rest)))
        }
        other => Json(outcome(&run, format!("ran {other}"))).into_response(),
    }
}

fn info(id: SessionId, language: Language, state: SessionState) -> WorkerSessionInfo {
    WorkerSessionInfo { id, language, state, last_used_at: 0, warnings: vec![] }
}

async fn create(State(seen): Shared, Json(wanted): Json<WorkerSession>) -> Response {
    tokio::time::sleep(Duration::from_millis(seen.session_delay_ms.load(Ordering::SeqCst))).await;
    if seen.refuse_sessions.load(Ordering::SeqCst) {
        return refuse(Problem::worker_lost("it does not feel like it"));
    }
    let info = info(wanted.id.clone(), wanted.language, SessionState::Live);
    seen.snapshots.lock().unwrap().extend(wanted.snapshot);
    seen.sessions.lock().unwrap().insert(wanted.id, info.clone());
    Json(info).into_response()
}

async fn show(State(seen): Shared, Path(id): Path<SessionId>) -> Response {
    let found = seen.sessions.lock().unwrap().get(&id).cloned();
    found.map_or_else(|| refuse(Problem::not_found("no such session")), |info| Json(info).into_response())
}

async fn infos(State(seen): Shared, Json(wanted): Json<WorkerSessionIds>) -> Json<Vec<WorkerSessionInfo>> {
    seen.asked_infos.fetch_add(1, Ordering::SeqCst);
    let sessions = seen.sessions.lock().unwrap();
    Json(wanted.ids.iter().filter_map(|id| sessions.get(id).cloned()).collect())
}

async fn suspend(seen: Shared, Path(id): Path<SessionId>) -> Response {
    if let Some(info) = seen.sessions.lock().unwrap().get_mut(&id) {
        info.state = SessionState::Suspended;
        info.warnings = vec!["an open file was closed".into()];
    }
    show(seen, Path(id)).await
}

async fn end(State(seen): Shared, Path(id): Path<SessionId>) -> StatusCode {
    seen.sessions.lock().unwrap().remove(&id);
    StatusCode::NO_CONTENT
}

async fn fork(
    State(seen): Shared,
    Path(_): Path<SessionId>,
    Json(fork): Json<WorkerFork>,
) -> Json<Vec<WorkerSessionInfo>> {
    let infos: Vec<_> = fork.ids.into_iter().map(|id| info(id, Language::Python, SessionState::Live)).collect();
    seen.sessions.lock().unwrap().extend(infos.iter().map(|info| (info.id.clone(), info.clone())));
    Json(infos)
}

async fn snapshot() -> Json<SnapshotInfo> {
    Json(SnapshotInfo { size_bytes: 4_096 })
}

async fn get_file(State(seen): Shared, Path((_, path)): Path<(String, String)>) -> Response {
    let found = seen.files.lock().unwrap().get(&path).cloned();
    found.map_or_else(|| refuse(Problem::not_found("no such file")), IntoResponse::into_response)
}

async fn put_file(State(seen): Shared, Path((_, path)): Path<(String, String)>, body: Bytes) -> StatusCode {
    seen.files.lock().unwrap().insert(path, body);
    StatusCode::NO_CONTENT
}
