//! Health calls: is the worker there, and is it alive. A remote worker is watched here, the local one by its supervisor.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_contract::worker::{ORGANIZATION_HEADER, WorkerHealth};
use http::Request;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::{BodyExt, Limited};
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
        let mut builder = Request::get("/health").header(HOST, &self.host);
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

/// Keeps a remote worker's readiness true until `stop`.
pub async fn watch(worker: Arc<Worker>, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        match worker.ping(TIMEOUT).await {
            Ok(health) => {
                if !worker.is_ready() {
                    tracing::info!(worker = %worker.name, "worker ready");
                }
                failures = 0;
                worker.set_health(Some(health));
            }
            Err(error) => {
                failures += 1;
                if failures == FAILURES {
                    tracing::warn!(worker = %worker.name, %error, "worker does not answer");
                }
                if failures >= FAILURES {
                    worker.set_health(None);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
