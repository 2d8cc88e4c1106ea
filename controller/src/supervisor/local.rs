//! The life of the local worker: prepare, start, watch, start again. Back at once after a death; slower only where one
//! quick death follows another.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::child::{WorkerProgram, end};
use super::prepare::prepare;
use crate::Error;
use crate::metrics::{Metrics, RestartLabels};
use crate::workers::{EVERY, FAILURES, TIMEOUT, Worker};

/// The line of progress after the prepare step.
pub const STARTING: &str = "starting the worker";

/// A start has this time until its first health answer.
const START: Duration = Duration::from_secs(60);
/// A life shorter than this is a quick death; so many of them in a row are followed at once by a new start.
const QUICK: Duration = Duration::from_secs(5);
const FREE_RESTARTS: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The socket of the local worker and the worker as the registry knows it.
pub struct LocalWorker {
    pub worker: Arc<Worker>,
    program: WorkerProgram,
    listener: UnixListener,
    folder: TempDir,
}

/// What a supervisor reports to and is told by.
pub struct Supervision {
    pub metrics: Arc<Metrics>,
    /// Gets the lines of the prepare step.
    pub progress: Box<dyn Fn(&str) + Send + Sync>,
    /// Ends the worker, in order.
    pub stop: CancellationToken,
    /// How long the worker may take to end, in which it suspends its sessions.
    pub grace: Duration,
}

enum End {
    Died(String),
    Hung,
    Stopped,
}

impl LocalWorker {
    /// Binds the socket in a private folder. Nothing runs yet.
    ///
    /// # Errors
    /// Where the folder or the socket cannot be made.
    pub fn bind(program: WorkerProgram) -> Result<Self, Error> {
        let folder =
            tempfile::Builder::new().prefix("cofferdam-").tempdir().map_err(Error::file(std::env::temp_dir()))?;
        let socket = folder.path().join("worker.sock");
        let listener = UnixListener::bind(&socket).map_err(Error::file(&socket))?;
        Ok(Self { worker: Worker::local(socket), program, listener, folder })
    }

    /// The socket's path.
    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("worker.sock")
    }

    /// Runs the worker until `stop`.
    ///
    /// # Errors
    /// Where preparing fails or no child can be started; deaths of the child are no errors.
    pub async fn supervise(self, supervision: Supervision) -> Result<(), Error> {
        tokio::select! {
            prepared = prepare(&self.program, &*supervision.progress) => prepared?,
            () = supervision.stop.cancelled() => return Ok(()),
        }
        (supervision.progress)(STARTING);
        let mut quick_deaths = 0_u32;
        loop {
            let started = Instant::now();
            let mut child = self.program.start_worker(&self.listener)?;
            let ended = self.life(&mut child, &supervision).await;
            self.worker.set_health(None);
            let reason = match ended {
                End::Stopped => return Ok(()),
                End::Died(status) => {
                    tracing::warn!(status, "the worker died; it is started again");
                    "died"
                }
                End::Hung => {
                    tracing::warn!("the worker hangs; it is killed and started again");
                    if let Err(error) = child.kill().await {
                        tracing::warn!(%error, "the worker could not be killed");
                    }
                    "hung"
                }
            };
            supervision.metrics.restarts.get_or_create(&RestartLabels { reason }).inc();
            quick_deaths = if started.elapsed() < QUICK { quick_deaths.saturating_add(1) } else { 0 };
            tokio::select! {
                () = tokio::time::sleep(pause(quick_deaths)) => {}
                () = supervision.stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn life(&self, child: &mut Child, supervision: &Supervision) -> End {
        tokio::select! {
            status = child.wait() => {
                return End::Died(status.map_or_else(|e| e.to_string(), |status| status.to_string()));
            }
            () = self.hung() => return End::Hung,
            () = supervision.stop.cancelled() => {}
        }
        end(child, supervision.grace).await;
        End::Stopped
    }

    /// Keeps the worker's readiness true, and returns when it hangs.
    async fn hung(&self) {
        let born = Instant::now();
        while !self.worker.is_ready() {
            match self.worker.ping(START).await {
                Ok(health) => self.worker.set_health(Some(health)),
                Err(_) if born.elapsed() >= START => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        tracing::info!(took_ms = u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX), "the worker is ready");
        let mut failures = 0;
        while failures < FAILURES {
            tokio::time::sleep(EVERY).await;
            match self.worker.ping(TIMEOUT).await {
                Ok(health) => {
                    failures = 0;
                    self.worker.set_health(Some(health));
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the worker does not answer");
                }
            }
        }
    }
}

fn pause(quick_deaths: u32) -> Duration {
    match quick_deaths.saturating_sub(FREE_RESTARTS) {
        0 => Duration::ZERO,
        more => Duration::from_millis(100).saturating_mul(1 << more.min(10)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests;
