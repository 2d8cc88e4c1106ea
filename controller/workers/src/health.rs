//! Health calls. A remote worker is watched here, the local one by its supervisor.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::OrganizationId;
use cofferdam_contract::worker::{ORGANIZATION_HEADER, WorkerHealth};
use cofferdam_core::chain;
use http::Request;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::forward::read_json;
use crate::worker::Worker;

/// Time between two health calls.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time for one health call.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// A worker hangs when this many health calls fail in a row.
pub(crate) const MAX_FAILURES: u32 = 3;
/// The longest answer to a health call, in bytes.
const MAX_HEALTH: usize = 64 << 10;

impl Worker {
    /// Asks the worker for its health, ready or not.
    ///
    /// # Errors
    /// No answer within `timeout`, or one that is not a health document.
    pub async fn ping(&self, timeout: Duration) -> Result<WorkerHealth, Error> {
        self.ping_at("/health", timeout).await
    }

    /// The same at another path.
    pub(crate) async fn ping_at<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<T, Error> {
        let mut builder = Request::get(path).header(HOST, &self.host);
        builder = builder.header(ORGANIZATION_HEADER, OrganizationId::default_organization().as_str());
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, token);
        }
        let request = builder.body(Body::empty())?;
        let call = async {
            let response = self.links.exchange(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_HEALTH).collect().await;
            let bytes = body.map_err(|e| Error::Wire(e.to_string()))?.to_bytes();
            if !status.is_success() {
                return Err(Error::Wire(format!("health answered {status}")));
            }
            read_json(&bytes)
        };
        tokio::time::timeout(timeout, call).await.unwrap_or(Err(Error::Timeout))
    }
}

/// A worker under watch: of snippets or of tools.
pub trait Watched: Send + Sync + 'static {
    /// For the log.
    fn name(&self) -> &str;
    fn ready(&self) -> bool;
    /// Asks for its health and notes the answer; an error leaves its readiness unchanged.
    fn check(&self, timeout: Duration) -> impl Future<Output = Result<(), Error>> + Send;
    /// Nothing is sent to it from here on, until the next good check.
    fn lost(&self);
}

impl Watched for Arc<Worker> {
    fn name(&self) -> &str {
        Worker::name(self)
    }

    fn ready(&self) -> bool {
        self.is_ready()
    }

    async fn check(&self, timeout: Duration) -> Result<(), Error> {
        self.set_health(Some(self.ping(timeout).await?));
        Ok(())
    }

    fn lost(&self) {
        self.set_health(None);
    }
}

/// Keeps a remote worker's readiness current until `stop`.
pub async fn watch(worker: impl Watched, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let was_ready = worker.ready();
        match worker.check(CHECK_TIMEOUT).await {
            Ok(()) => {
                if !was_ready {
                    tracing::info!(worker = worker.name(), "worker ready");
                }
                failures = 0;
            }
            Err(error) => {
                failures += 1;
                if failures == MAX_FAILURES {
                    tracing::warn!(worker = worker.name(), error = chain(&error), "worker does not answer");
                }
                if failures >= MAX_FAILURES {
                    worker.lost();
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}
