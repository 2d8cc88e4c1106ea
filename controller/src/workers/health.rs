//! Health calls: is the worker there, and is it alive. A remote worker is watched here, the local one by its supervisor.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_contract::worker::{ORGANIZATION_HEADER, WorkerHealth};
use http::Request;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::worker::Worker;
use crate::Error;

/// Time between two health calls, and the time that one may take.
pub const EVERY: Duration = Duration::from_secs(1);
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// So many failures in a row mean that a worker hangs.
pub const FAILURES: u32 = 3;

impl Worker {
    /// Asks the worker how it is, ready or not.
    ///
    /// # Errors
    /// No answer within `timeout`, or one that is no health.
    pub async fn ping(self: &Arc<Self>, timeout: Duration) -> Result<WorkerHealth, Error> {
        self.ping_at("/health", timeout).await
    }

    /// The same of what answers at another path.
    pub(super) async fn ping_at<T: DeserializeOwned>(
        self: &Arc<Self>,
        path: &str,
        timeout: Duration,
    ) -> Result<T, Error> {
        let mut builder = Request::get(path).header(HOST, &self.host);
        builder = builder.header(ORGANIZATION_HEADER, OrganizationId::default_organization().as_str());
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, token);
        }
        let request = builder.body(super::empty()).map_err(|e| Error::Wire(e.to_string()))?;
        let call = async {
            let response = self.links.exchange(request).await.map_err(|e| Error::Wire(e.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), 64 << 10).collect().await;
            let bytes = body.map_err(|e| Error::Wire(e.to_string()))?.to_bytes();
            if !status.is_success() {
                return Err(Error::Wire(format!("health answered {status}")));
            }
            serde_json::from_slice(&bytes).map_err(|e| Error::Wire(e.to_string()))
        };
        tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(Error::Wire("no answer in time".to_owned())))
    }
}

/// A worker whose health is looked at: of snippets or of tools.
pub trait Watched: Send + Sync + 'static {
    /// For the log.
    fn name(&self) -> &str;
    fn ready(&self) -> bool;
    /// Asks for its health and notes the answer; an error leaves its readiness as it was.
    fn check(&self, timeout: Duration) -> impl Future<Output = Result<(), Error>> + Send;
    /// Nothing is sent to it from here on, until the next good check.
    fn lost(&self);
}

impl Watched for Arc<Worker> {
    fn name(&self) -> &str {
        &self.name
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

/// Keeps a remote worker's readiness true until `stop`.
pub async fn watch(worker: impl Watched, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let was_ready = worker.ready();
        match worker.check(TIMEOUT).await {
            Ok(()) => {
                if !was_ready {
                    tracing::info!(worker = worker.name(), "worker ready");
                }
                failures = 0;
            }
            Err(error) => {
                failures += 1;
                if failures == FAILURES {
                    tracing::warn!(worker = worker.name(), %error, "worker does not answer");
                }
                if failures >= FAILURES {
                    worker.lost();
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
