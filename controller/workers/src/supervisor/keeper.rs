//! The life of a child that serves: start, watch, restart. A restart follows a death at once; only repeated quick deaths
//! slow it down.

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::child::{UNPREPARED, end};
use crate::health::{CHECK_INTERVAL, CHECK_TIMEOUT, MAX_FAILURES};
use crate::metrics::{RestartLabels, Restarts};
use crate::{Error, Watched};

/// The time from a start to its first health answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A child that lives less than this died quickly.
const QUICK_DEATH: Duration = Duration::from_secs(5);
/// This many quick deaths in a row are followed by an immediate restart.
const FREE_RESTARTS: u32 = 3;
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The preparation before the restart of a child that found its kernels unprepared.
pub(super) type Preparing<'p> = Pin<Box<dyn Future<Output = ()> + Send + 'p>>;

/// Keeps one child alive.
pub(super) struct Keeper<'a, W> {
    pub(super) charge: &'a W,
    pub(super) restarts: &'a Restarts,
    /// Ends the child, in order.
    pub(super) stop: &'a CancellationToken,
    /// The time for the child to end.
    pub(super) grace: Duration,
}

enum End {
    Died(String),
    Unprepared,
    Hung,
    Stopped,
}

impl<W: Watched> Keeper<'_, W> {
    /// Runs until `stop`. A death of the child is not an error; if its kernels are unprepared, `prepare` runs before the
    /// restart.
    ///
    /// # Errors
    /// No child can be started.
    pub(super) async fn keep<'p>(
        &self,
        start: impl Fn() -> Result<Child, Error>,
        prepare: impl Fn() -> Preparing<'p>,
    ) -> Result<(), Error> {
        let name = self.charge.name();
        let mut quick_deaths = 0_u32;
        loop {
            let started = Instant::now();
            let mut child = start()?;
            let ended = self.life(&mut child).await;
            self.charge.lost();
            let reason = match ended {
                End::Stopped => return Ok(()),
                End::Died(status) => {
                    tracing::warn!(worker = name, status, "the worker died; restarting it");
                    "died"
                }
                End::Unprepared => {
                    prepare().await;
                    "unprepared"
                }
                End::Hung => {
                    tracing::warn!(worker = name, "the worker hangs; killing and restarting it");
                    if let Err(error) = child.kill().await {
                        tracing::warn!(worker = name, %error, "the worker could not be killed");
                    }
                    "hung"
                }
            };
            self.restarts.get_or_create(&RestartLabels { reason }).inc();
            quick_deaths = if started.elapsed() < QUICK_DEATH { quick_deaths.saturating_add(1) } else { 0 };
            tokio::select! {
                () = tokio::time::sleep(pause(quick_deaths)) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn life(&self, child: &mut Child) -> End {
        tokio::select! {
            status = child.wait() => return match status {
                Ok(status) if status.code() == Some(i32::from(UNPREPARED)) => End::Unprepared,
                Ok(status) => End::Died(status.to_string()),
                Err(error) => End::Died(error.to_string()),
            },
            () = self.hung() => return End::Hung,
            () = self.stop.cancelled() => {}
        }
        end(child, self.grace).await;
        End::Stopped
    }

    /// Keeps the worker's readiness current, and returns when it hangs.
    async fn hung(&self) {
        let (name, born) = (self.charge.name(), Instant::now());
        while !self.charge.ready() {
            match self.charge.check(CHECK_TIMEOUT).await {
                Ok(()) => {}
                Err(_) if born.elapsed() >= START_TIMEOUT => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        let took_ms = u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(worker = name, took_ms, "the worker is ready");
        let mut failures = 0;
        while failures < MAX_FAILURES {
            tokio::time::sleep(CHECK_INTERVAL).await;
            match self.charge.check(CHECK_TIMEOUT).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(worker = name, %error, failures, "the worker does not answer");
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
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(1), Duration::ZERO);
        assert_eq!(pause(100), LONGEST_PAUSE);
    }
}
