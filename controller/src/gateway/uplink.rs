//! Uplinks: one to every worker, dialled by us, opened again when it breaks. On it the worker asks and we answer, as an
//! HTTP/2 server with bounds, because the worker may be in the wrong hands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::uplink::{CONNECTION_WINDOW, MAX_HEADER_BYTES, MAX_STREAMS, STREAM_WINDOW};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::serve::answer;
use crate::Error;
use crate::services::App;
use crate::workers::{ToolWorker, Worker};

/// Pauses between dials: short after a break, longer where nobody answers.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An uplink that lived so long had not been refused.
const LIVED: Duration = Duration::from_secs(5);
/// A worker that does not answer pings any more is gone.
const PING: Duration = Duration::from_secs(10);
/// What is sent ahead of a worker that does not read, on each stream.
const SEND_AHEAD: usize = 64 << 10;
/// Headers of a request as HTTP/2 counts them, our own and the guest's.
const HEADERS: u32 = 2 * MAX_HEADER_BYTES as u32;

/// The worker at an uplink's other end.
#[derive(Clone)]
pub enum Uplink {
    Snippets(Arc<Worker>),
    Tools(Arc<ToolWorker>),
}

impl Uplink {
    fn name(&self) -> (&'static str, &str) {
        match self {
            Self::Snippets(worker) => ("snippets", &worker.name),
            Self::Tools(worker) => ("tools", worker.name()),
        }
    }

    fn ready(&self) -> bool {
        match self {
            Self::Snippets(worker) => worker.is_ready(),
            Self::Tools(worker) => worker.is_ready(),
        }
    }

    async fn open(&self, gateway: &str) -> Result<Upgraded, Error> {
        match self {
            Self::Snippets(worker) => worker.uplink("/uplink", gateway).await,
            Self::Tools(worker) => worker.uplink(gateway).await,
        }
    }
}

/// One to every worker there is.
pub fn uplinks(app: &App) -> Vec<Uplink> {
    let snippets = app.workers.all().iter().map(|worker| Uplink::Snippets(Arc::clone(worker)));
    snippets.chain(app.tool_workers.all().iter().map(|worker| Uplink::Tools(Arc::clone(worker)))).collect()
}

/// Keeps an uplink until `stop`.
pub async fn keep_uplink(app: App, uplink: Uplink, stop: CancellationToken) {
    let (kind, worker) = uplink.name();
    let mut pause = FIRST_PAUSE;
    loop {
        let opened = Instant::now();
        let life = async {
            match uplink.open(app.gateway.name()).await {
                Ok(connection) => {
                    tracing::info!(kind, worker, "uplink open");
                    serve(&app, connection).await;
                }
                Err(error) if uplink.ready() => tracing::warn!(kind, worker, error = %error.chain(), "no uplink"),
                Err(error) => tracing::debug!(kind, worker, error = %error.chain(), "no uplink yet"),
            }
        };
        tokio::select! {
            () = life => {}
            () = stop.cancelled() => return,
        }
        pause = if opened.elapsed() > LIVED { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        // A worker that has just become ready is not kept waiting.
        let was_ready = uplink.ready();
        let resume = async {
            let until = Instant::now() + pause;
            while Instant::now() < until && (was_ready || !uplink.ready()) {
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        };
        tokio::select! {
            () = resume => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Answers on a connection until it ends.
async fn serve(app: &App, connection: Upgraded) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(HEADERS)
        .max_send_buf_size(SEND_AHEAD)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let service = service_fn(|request| answer(app.clone(), request));
    if let Err(error) = builder.serve_connection(connection, service).await {
        tracing::info!(%error, cause = std::error::Error::source(&error), "an uplink broke off");
    }
}
