//! `POST /runs`: admits a job, runs it on a thread that may block, and answers with JSON or with events as they happen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use cofferdam_contract::worker::WorkerRun;
use cofferdam_contract::{Event, Language, OrganizationId, Outcome, Problem, RunId};
use cofferdam_host_api::Interrupt;
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Worker;
use super::admission::Place;
use super::file_answer::file_answer;
use super::lanes::{blocking, lane};
use super::routes::{ProblemResponse, max_runs, organization};
use super::watch::{CancelOnDrop, watch};
use crate::error::Error;
use crate::events::EventQueue;
use crate::fresh::{self, Used};
use crate::kernel::Kernel;
use crate::session::{Held, Session};
use crate::turn::Job;

pub(super) async fn run(
    State(worker): State<Arc<Worker>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ProblemResponse> {
    let mut request: WorkerRun = serde_json::from_slice(&body).map_err(|e| Problem::malformed(e.to_string()))?;
    drop(body);
    request.request.env.append(&mut request.env);
    let organization = organization(&headers)?;
    worker.unsent.admit(&organization)?;
    let wants_events =
        headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
    let wall = Duration::from_millis(request.limits.wall_ms);
    let held = match &request.request.session {
        Some(id) => {
            let session = worker.sessions.find(id, &organization)?;
            Some(worker.sessions.hold(&session, request.request.if_busy, wall).await?)
        }
        None => None,
    };
    let max = max_runs(&headers).or(worker.config.max_runs_per_organization);
    let place = worker.admission.enter(&organization, max).await.inspect_err(|_| worker.metrics.refused())?;
    let language = language_of(&request, held.as_ref())?;
    let interrupt = Interrupt::new(Instant::now().checked_add(wall));
    let cancel = CancelOnDrop(interrupt.clone());
    let listener = wants_events.then(|| Arc::new(EventQueue::counted(worker.unsent.tally(&organization))));
    let gateway = worker.uplinks.handle(request.token.as_deref())?;
    let job = Job {
        id: request.id,
        session: request.request.session.clone(),
        request: request.request,
        language,
        limits: request.limits,
        open_files: worker.config.open_files,
        interrupt,
        gateway,
        listener: listener.clone(),
    };
    let on_thread = Arc::clone(&worker);
    let (unsent, owner) = (worker.unsent.clone(), organization.clone());
    // Requests to the gateway depend on other threads, and on timers that this thread would have to drive.
    let here = lane().filter(|_| job.gateway.is_none());
    match (listener, here) {
        (None, Some(caller)) => {
            let watched = watch(caller, job.interrupt.clone());
            let done = blocking(move || work(&on_thread, organization, held, job, place)).await;
            drop(watched);
            let (outcome, after) = done.map_err(|_| broke_off())?;
            // Runs after the answer is written, because this thread's own tasks wait for its connection. Cleaning goes
            // to another thread, because a fast caller's next request may be here before it is done.
            tokio::spawn(async move {
                worker.background.spawn_blocking(move || after.clean());
            });
            Ok(json(unsent.count(&owner, encoded(&outcome.map_err(|e| refuse(&e))?))))
        }
        (None, None) => {
            let answered =
                elsewhere(&worker.background, None, move || work(&on_thread, organization, held, job, place));
            let outcome = answered.await.map_err(|_| broke_off())?;
            drop(cancel);
            Ok(json(unsent.count(&owner, encoded(&outcome.map_err(|e| refuse(&e))?))))
        }
        (Some(queue), _) => {
            let work = move || work(&on_thread, organization, held, job, place);
            let answered = elsewhere(&worker.background, Some(Arc::clone(&queue)), work);
            Ok(events(queue, answered, cancel, move |text| unsent.count(&owner, text.into_bytes())))
        }
    }
}

fn broke_off() -> Problem {
    Problem::internal("the run broke off")
}

type Answer = Result<Outcome, Error>;

/// Runs the job on a thread that may block. The answer is sent before the slot is cleaned.
fn elsewhere(
    background: &Handle,
    queue: Option<Arc<EventQueue>>,
    work: impl FnOnce() -> (Answer, After) + Send + 'static,
) -> oneshot::Receiver<Answer> {
    let (answer, answered) = oneshot::channel();
    background.spawn_blocking(move || {
        // Whatever happens, the event stream must end.
        let close = queue.map(CloseOnDrop);
        let (result, after) = work();
        let _ = answer.send(result);
        drop(close);
        after.clean();
    });
    answered
}

struct CloseOnDrop(Arc<EventQueue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn refuse(error: &Error) -> Problem {
    if !matches!(error, Error::Refused(_)) {
        tracing::error!(%error, "a run failed on our side");
    }
    error.to_problem()
}

/// The language of a run in a session is the session's. TypeScript runs in JavaScript sessions.
fn language_of(request: &WorkerRun, held: Option<&Held>) -> Result<Language, Problem> {
    let own = held.map(|held| held.meta().language);
    match (request.request.language, own) {
        (Some(asked), Some(own)) if asked.kernel() != own.kernel() => {
            Err(Problem::invalid(format!("this is a {} session; it cannot run {}", own.as_str(), asked.as_str())))
        }
        (Some(asked), _) => Ok(asked),
        (None, Some(own)) => Ok(own),
        (None, None) => Err(Problem::invalid("`language` is needed")),
    }
}

/// The work left after the answer is sent.
enum After {
    Nothing,
    Fresh { used: Used, kernel: Arc<Kernel>, organization: OrganizationId, _place: Place },
    Session { session: Arc<Session>, worker: Arc<Worker> },
}

impl After {
    fn clean(self) {
        match self {
            Self::Nothing => {}
            Self::Fresh { used, kernel, organization, .. } => used.clean(&kernel, &organization),
            Self::Session { session, worker } => worker.sessions.checkpoint_later(session),
        }
    }
}

/// The whole run on this thread, up to its answer.
fn work(
    worker: &Arc<Worker>,
    organization: OrganizationId,
    held: Option<Held>,
    job: Job,
    place: Place,
) -> (Answer, After) {
    let language = job.language;
    let started = Instant::now();
    let (result, after) = match held {
        Some(mut held) => {
            let session = held.session();
            let result = held.run(&worker.sessions, job).map(|finished| finished.outcome);
            (result, After::Session { session, worker: Arc::clone(worker) })
        }
        None => match worker.sessions.kernel(language.kernel()) {
            Err(problem) => return (Err(problem.into()), After::Nothing),
            Ok(kernel) => match fresh::run(&kernel, &organization, job, &worker.files) {
                Ok((finished, used)) => {
                    (Ok(finished.outcome), After::Fresh { used, kernel, organization, _place: place })
                }
                Err(error) => (Err(error), After::Nothing),
            },
        },
    };
    worker.metrics.finished(language, result.as_ref().ok(), started.elapsed());
    (result, after)
}

fn encoded(outcome: &Outcome) -> Vec<u8> {
    serde_json::to_vec(outcome).unwrap_or_default()
}

fn json(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The events as they happen, then the end, each as `bytes` makes them. Dropping `cancel` with the stream stops nothing
/// by then.
fn events(
    queue: Arc<EventQueue>,
    answered: oneshot::Receiver<Answer>,
    cancel: CancelOnDrop,
    bytes: impl Fn(String) -> Bytes + Send + 'static,
) -> Response {
    let state = (queue, Some(answered), cancel, bytes);
    let body = stream::unfold(state, |(queue, mut answered, cancel, bytes)| async move {
        if let Some(event) = queue.next().await {
            return Some((Ok::<_, Infallible>(bytes(event.to_sse())), (queue, answered, cancel, bytes)));
        }
        let outcome = answered.take()?.await;
        let text = match outcome {
            Ok(Ok(outcome)) => {
                let error = outcome.error.clone().map(|e| Event::Error(e).to_sse()).unwrap_or_default();
                error + &Event::End(Box::new(outcome)).to_sse()
            }
            // The status line is already sent, so the problem becomes an event.
            Ok(Err(error)) => Event::Problem(Box::new(refuse(&error))).to_sse(),
            Err(_) => Event::Problem(Box::new(Problem::internal("the run broke off"))).to_sse(),
        };
        Some((Ok(bytes(text)), (queue, None, cancel, bytes)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `GET /runs/{id}/files/{path}`.
pub(super) async fn file(
    State(worker): State<Arc<Worker>>,
    headers: HeaderMap,
    Path((id, path)): Path<(String, String)>,
) -> Result<Response, ProblemResponse> {
    let id = RunId::parse(&id).map_err(|e| Problem::not_found(e.to_string()))?;
    let path = cofferdam_contract::normalize_path(&path).map_err(|e| Problem::invalid(e.to_string()))?;
    let organization = organization(&headers)?;
    worker.unsent.admit(&organization)?;
    let file = worker.files.view(&id, &organization, &path)?;
    Ok(file_answer(file, &worker.unsent, organization))
}
