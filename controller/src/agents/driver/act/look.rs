//! Has a new version come up; does the one that serves still. A new one takes the place of the old one in one transaction,
//! after it has been ready for a few seconds; the old one is taken away after that.

use cofferdam_contract::{DeploymentState as State, FailureReason};
use futures_util::FutureExt;
use tokio::time::{Duration, Instant};

use super::apply::{refused, workload_id};
use super::write::Failed;
use super::{Act, Next, crash};
use crate::Error;
use crate::agents::ask::enter;
use crate::agents::compose;
use crate::clock::now_ms;
use crate::cluster::{ClusterError, Failure, Seen};
use crate::environments::Environment;

/// A version that takes longer is not looked at as often.
const SLOW: Duration = Duration::from_secs(30);
/// Of a failed container's log.
const LINES: usize = 20;
const LINE: usize = 1_000;

impl Act {
    async fn see(&self, environment: &Environment) -> Result<Seen, ClusterError> {
        let id = workload_id(&self.row);
        let seen = self.call(environment, |cluster| async move { cluster.see(&id).await }.boxed()).await;
        if matches!(seen, Ok(Seen::Starting { .. } | Seen::Ready { .. } | Seen::Failed(_))) {
            self.collect(environment).await;
        }
        seen
    }

    /// A failure of the cluster's, with the secrets taken out of it.
    async fn clean(&self, environment: &Environment, failure: Failure) -> Failed {
        let values = compose::values(&self.app, environment, &self.row).await;
        // Where they cannot be known, nothing can be shown.
        let lines = match values {
            Ok(values) => {
                let redact = compose::redactor(&values);
                let from = failure.last_lines.len().saturating_sub(LINES);
                let cut = |line: &String| line.chars().take(LINE).filter(|c| *c != '\0').collect::<String>();
                failure.last_lines.iter().skip(from).map(|line| cut(&redact(line))).collect()
            }
            Err(_) => Vec::new(),
        };
        Failed { reason: Some(failure.reason), detail: failure.detail, exit_code: failure.exit_code, last_lines: lines }
    }
}

/// Of a version on its way up.
pub async fn look(act: &Act) -> Result<Next, Error> {
    let timing = act.app.config.agents.timing;
    let environment = act.environment().await?;
    let waited = Duration::from_millis(u64::try_from(now_ms() - act.row.since_ms).unwrap_or(0));
    let again = if waited > SLOW { timing.look * 4 } else { timing.look };
    match act.see(&environment).await {
        Ok(Seen::Ready { for_s, pod, .. }) if Duration::from_secs(for_s) >= timing.steady => up(act, &pod).await,
        Ok(Seen::Ready { .. }) => Ok(Next::after(again)),
        Ok(Seen::Starting { waits_for }) if waited > timing.start => {
            let detail = format!(
                "It was not ready within {} s: {waits_for}. COFFERDAM_AGENT_START_S gives it longer.",
                timing.start.as_secs()
            );
            ended(act, Failed::new(FailureReason::NotReady, detail)).await
        }
        Ok(Seen::Starting { waits_for }) => say(act, &waits_for).await.map(|()| Next::after(again)),
        Ok(Seen::Gone) => {
            let Some((mut change, mut row)) = act.take().await? else { return Ok(Next::soon()) };
            enter(&mut row, State::Applying, "Its Job was gone before it was ready; it is made again.");
            // Whoever takes it away may do so each time.
            row.retry_at_ms = now_ms().saturating_add(super::super::millis(timing.retry));
            change.put(&mut row, true).await?;
            act.done(change).await?;
            Ok(Next::now())
        }
        Ok(Seen::Failed(failure)) => {
            let failed = act.clean(&environment, failure).await;
            ended(act, failed).await
        }
        // It has its time to come up, whether we can see it or not.
        Err(error) if error.is_retryable() && waited < timing.start => {
            say(act, &error.to_string()).await.map(|()| Next::after(timing.retry.max(again)))
        }
        Err(error) => refused(act, error).await,
    }
}

/// It did not come up. One that served before has crashed.
async fn ended(act: &Act, failed: Failed) -> Result<Next, Error> {
    if act.agent.serving == act.row.number { crash::crash(act, failed).await } else { act.fail(failed).await }
}

/// Says what it waits for, where that is new.
async fn say(act: &Act, what: &str) -> Result<(), Error> {
    let what = super::apply::sentence(what);
    if act.row.detail == what {
        return Ok(());
    }
    let Some((mut change, mut row)) = act.take().await? else { return Ok(()) };
    row.detail = what;
    change.put(&mut row, true).await?;
    act.done(change).await
}

/// It serves from now on.
async fn up(act: &Act, pod: &str) -> Result<Next, Error> {
    let Some((mut change, mut row)) = act.take().await? else { return Ok(Next::soon()) };
    let before = change.agent.serving;
    if before != row.number
        && before != 0
        && let Some(mut old) = change.deployment(before).await?
        && !old.is_over()
    {
        if old.turn > row.turn {
            // One that was asked for after it was faster: the next plan gives this one up.
            change.abandon().await?;
            return Ok(Next::soon());
        }
        // What crashed is remembered as that.
        let state = if old.state == State::CrashLoop { State::Failed } else { State::Stopping };
        let why = match state {
            State::Failed => format!("{} Version {} has taken its place.", old.detail, row.number),
            _ => format!("Version {} has taken its place.", row.number),
        };
        enter(&mut old, state, why);
        change.put(&mut old, true).await?;
    }
    enter(&mut row, State::Up, serves_in(pod));
    (row.reason, row.exit_code) = (None, None);
    row.last_lines.clear();
    let first = row.up_at_ms == 0;
    if first {
        row.up_at_ms = row.since_ms;
    }
    change.agent.serving = row.number;
    change.put(&mut row, true).await?;
    act.done(change).await?;
    if first {
        act.app.metrics.deployed("up");
        let took_s = row.up_at_ms / 1_000 - row.created_at;
        act.app.metrics.deployment_durations.observe(u32::try_from(took_s).unwrap_or(0).into());
    }
    tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number, "a version serves");
    Ok(Next::now())
}

fn serves_in(pod: &str) -> String {
    format!("It serves, in pod {pod}.")
}

/// Of the version that serves.
pub async fn watch(act: &Act) -> Result<Next, Error> {
    let timing = act.app.config.agents.timing;
    let environment = act.environment().await?;
    match act.see(&environment).await {
        Ok(Seen::Ready { for_s, pod, .. }) => {
            say(act, &serves_in(&pod)).await?;
            if act.row.crashes > 0 && Duration::from_secs(for_s) >= timing.probation {
                // It has recovered: what was is no reason not to come back to it.
                if let Some((mut change, mut row)) = act.take().await? {
                    row.crashes = 0;
                    change.put(&mut row, false).await?;
                    act.done(change).await?;
                }
            }
            Ok(Next::after(timing.watch))
        }
        Ok(Seen::Starting { waits_for }) => {
            let since = act.unready.unwrap_or_else(Instant::now);
            if since.elapsed() < timing.start {
                return Ok(Next { after: timing.watch.min(timing.look * 4), unready: Some(since) });
            }
            let detail = format!("It was not ready for {} s: {waits_for}.", timing.start.as_secs());
            crash::crash(act, Failed::new(FailureReason::NotReady, detail)).await
        }
        Ok(Seen::Gone) => {
            tracing::warn!(agent = %act.agent.id, version = act.row.number, "a Job is gone that nobody of us took away");
            act.to(State::Applying, "Its Job was gone, deleted by somebody; it is made again.").await
        }
        Ok(Seen::Failed(failure)) => {
            let failed = act.clean(&environment, failure).await;
            crash::crash(act, failed).await
        }
        Err(error) => {
            tracing::debug!(agent = %act.agent.id, %error, "a version that serves cannot be looked at");
            if !error.is_retryable() {
                // It may serve on; somebody has to do something for us to see it.
                say(act, &format!("it cannot be looked at: {error}")).await?;
            }
            Ok(Next { after: timing.watch, unready: act.unready })
        }
    }
}
