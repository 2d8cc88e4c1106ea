//! The life of the local worker: prepare, start, watch, start again. Back at once after a death; slower only where one
//! quick death follows another. Prepared again where the worker finds that its kernels are not.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::child::{UNPREPARED, WorkerProgram, end};
use super::prepare::prepare;
use super::run_folder::RunFolder;
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
    folder: RunFolder,
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
    Unprepared,
    Hung,
    Stopped,
}

impl LocalWorker {
    /// Binds the socket in `folder`, which is cleared for it and gone afterwards: nobody else may use it. Nothing runs
    /// yet.
    ///
    /// # Errors
    /// Where the folder or the socket cannot be made.
    pub fn bind(program: WorkerProgram, folder: &Path) -> Result<Self, Error> {
        let folder = RunFolder::make(folder)?;
        let listener = folder.bind()?;
        Ok(Self { worker: Worker::local(folder.socket()), program, listener, folder })
    }

    /// The socket's path, for this process and while the worker is supervised.
    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.socket()
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
        let mut quick_deaths = 0_u32;
        loop {
            (supervision.progress)(STARTING);
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
                End::Unprepared => {
                    self.prepare_again(&supervision).await;
                    "unprepared"
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

    /// Kernels or cache are not what they were at the start. Where they cannot be prepared now, they may be later: a
    /// build may be under way.
    async fn prepare_again(&self, supervision: &Supervision) {
        tracing::warn!("kernels or cache have changed under the running server; preparing them again");
        let prepared = tokio::select! {
            prepared = prepare(&self.program, &*supervision.progress) => prepared,
            () = supervision.stop.cancelled() => return,
        };
        if let Err(error) = prepared {
            let about =
                "the kernels cannot be prepared as they are now, so no code can run: mend them (`make kernels`)";
            tracing::error!(error = %error.chain(), "{about}; it is tried again, or restart `cofferdam serve`");
            (supervision.progress)(about);
            tokio::select! {
                () = tokio::time::sleep(LONGEST_PAUSE) => {}
                () = supervision.stop.cancelled() => {}
            }
        }
    }

    async fn life(&self, child: &mut Child, supervision: &Supervision) -> End {
        tokio::select! {
            status = child.wait() => return match status {
                Ok(status) if status.code() == Some(i32::from(UNPREPARED)) => End::Unprepared,
                Ok(status) => End::Died(status.to_string()),
                Err(error) => End::Died(error.to_string()),
            },
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
            match self.worker.ping(TIMEOUT).await {
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
