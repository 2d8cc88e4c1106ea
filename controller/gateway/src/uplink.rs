//! Uplinks: one to every worker, dialled by the controller, opened again when it breaks. On it the worker sends
//! requests and the gateway answers, as an HTTP/2 server with tight bounds, because the worker may be compromised.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::uplink::{CONNECTION_WINDOW, MAX_HEADER_LIST, MAX_STREAMS, STREAM_WINDOW};
use cofferdam_core::chain;
use cofferdam_workers::{Error, ToolWorker, ToolWorkers, Worker, Workers};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::serve::answer;

/// The pause before dialling again: short after a break, longer while the worker does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// An uplink that lived this long was not refused; the pause starts anew after it.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);
/// The interval of pings, and the time for their answers. A worker that does not answer is gone.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes that are buffered for a worker that does not read, on each stream.
const SEND_BUFFER: usize = 64 << 10;
/// Requests that a worker may cancel before they are taken up. Guests decide how many there are.
const MAX_CANCELLED: usize = 2 * MAX_STREAMS as usize;

/// The worker at an uplink's other end.
#[derive(Clone)]
pub enum Uplink {
    Snippets(Arc<Worker>),
    Tools(Arc<ToolWorker>),
}

impl Uplink {
    fn name(&self) -> (&'static str, &str) {
        match self {
            Self::Snippets(worker) => ("snippets", worker.name()),
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

/// One uplink to every worker.
pub fn uplinks(workers: &Workers, tool_workers: &ToolWorkers) -> Vec<Uplink> {
    let snippets = workers.all().iter().map(|worker| Uplink::Snippets(Arc::clone(worker)));
    snippets.chain(tool_workers.all().iter().map(|worker| Uplink::Tools(Arc::clone(worker)))).collect()
}

/// Keeps an uplink open until `stop`.
pub async fn keep_uplink(gateway: Arc<Gateway>, uplink: Uplink, stop: CancellationToken) {
    let (kind, worker) = uplink.name();
    let mut pause = FIRST_PAUSE;
    loop {
        let opened = Instant::now();
        let life = async {
            match uplink.open(gateway.name()).await {
                Ok(connection) => {
                    tracing::info!(kind, worker, "uplink open");
                    serve(&gateway, connection).await;
                }
                Err(error) if uplink.ready() => {
                    tracing::warn!(kind, worker, error = %chain(&error), "cannot open the uplink")
                }
                Err(error) => tracing::debug!(kind, worker, error = %chain(&error), "cannot open the uplink yet"),
            }
        };
        tokio::select! {
            () = life => {}
            () = stop.cancelled() => return,
        }
        pause = if opened.elapsed() > HEALTHY_AFTER { FIRST_PAUSE } else { (pause * 2).min(MAX_PAUSE) };
        // A worker that becomes ready during the pause is dialled at once.
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
async fn serve(gateway: &Arc<Gateway>, connection: Upgraded) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_CANCELLED)
        .max_local_error_reset_streams(MAX_CANCELLED)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let service = service_fn(|request| answer(Arc::clone(gateway), request));
    if let Err(error) = builder.serve_connection(connection, service).await {
        tracing::info!(%error, cause = std::error::Error::source(&error), "an uplink was lost");
    }
}
