//! Shows how a deployment comes up, state by state, and its first log lines.

use std::time::{Duration, Instant};

use cofferdam_contract::{DeploymentState, LogLine, Progress};

use super::wire::{Deployment, Event};
use super::{Ended, look, path};
use crate::client::{Server, segment};
use crate::terminal::{note, plain, say};

/// The longest wait for the first lines.
const FIRST_LINES_WAIT: Duration = Duration::from_secs(3);
const MAX_FIRST_LINES: usize = 10;

/// The state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Up,
    /// Nothing of it runs.
    Stopped,
}

impl Goal {
    /// The result of the wait, once a deployment is in this state.
    fn ended(self, state: &str, progress: Progress) -> Option<Ended> {
        let over = matches!(DeploymentState::parse(state), Some(DeploymentState::Stopped | DeploymentState::Failed));
        match (self, progress) {
            (Self::Up, Progress::Up) => Some(Ended::Done),
            (Self::Up, Progress::Failed | Progress::Stopped) => Some(Ended::NotUp),
            (Self::Up, Progress::Pending) => None,
            (Self::Stopped, _) => over.then_some(Ended::Done),
        }
    }
}

/// Waits until it has reached the goal, cannot reach it any more, or the time is over.
pub(crate) async fn wait(
    server: &Server,
    deployment: Deployment,
    until: Instant,
    goal: Goal,
) -> anyhow::Result<(Ended, Deployment)> {
    let place = path(&deployment.agent, deployment.number);
    let (mut last, mut shown) = (String::new(), String::new());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // A stream that ends early is opened again after the last event.
        let _ = tokio::time::timeout(left, events(server, &place, &mut last, &mut shown, goal)).await;
        match look(server, &deployment.agent, deployment.number).await {
            Ok(deployment) => match goal.ended(&deployment.state, deployment.progress()) {
                Some(ended) => {
                    if ended == Ended::NotUp {
                        explain(&deployment, &shown);
                    }
                    return Ok((ended, deployment));
                }
                None if Instant::now() >= until => {
                    note!(
                        "still {} after --timeout; the deployment continues: cofferdam agent show {}",
                        deployment.state,
                        deployment.agent
                    );
                    return Ok((Ended::Waited, deployment));
                }
                None => {}
            },
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Shows changes as they happen, until the deployment settles or the stream ends.
async fn events(server: &Server, place: &str, last: &mut String, shown: &mut String, goal: Goal) -> anyhow::Result<()> {
    let from = if last.is_empty() { String::new() } else { format!("?after={last}") };
    let path = format!("{place}/events{from}");
    let mut events = server.events(&path).await?;
    while let Some(sent) = events.next().await? {
        if let Some(id) = sent.id.filter(|id| !id.is_empty()) {
            *last = id;
        }
        let Ok(event) = serde_json::from_str::<Event>(&sent.data.unwrap_or_default()) else { continue };
        let detail = if event.detail.is_empty() { String::new() } else { format!("  {}", event.detail) };
        note!("{:<10}{detail}", event.state);
        let is_last = goal.ended(&event.state, event.progress()).is_some();
        *shown = event.detail;
        if is_last {
            return Ok(());
        }
    }
    Ok(())
}

/// Shows why it did not come up. `shown` is already on the terminal.
fn explain(deployment: &Deployment, shown: &str) {
    if deployment.detail != shown {
        note!("{}", deployment.detail);
    }
    if let Some(code) = deployment.exit_code {
        note!("exit code {code}");
    }
    if !deployment.last_lines.is_empty() {
        note!("its last lines:");
    }
    for line in &deployment.last_lines {
        note!("  {}", plain(line));
    }
}

/// Shows the first lines of its log, if they come soon.
///
/// # Errors
/// Standard output takes no more. Lines that do not come are none: the deployment is up.
pub(super) async fn first_lines(server: &Server, deployment: &Deployment) -> anyhow::Result<()> {
    let path = format!(
        "/agents/{}/logs?follow=true&tail={MAX_FIRST_LINES}&version={}",
        segment(&deployment.agent),
        deployment.number
    );
    let mut shown = 0;
    let show = async {
        let Ok(mut events) = server.events(&path).await else { return Ok(()) };
        while let Ok(Some(sent)) = events.next().await {
            let Ok(line) = serde_json::from_str::<LogLine>(&sent.data.unwrap_or_default()) else { continue };
            say!("{}", plain(&line.line))?;
            shown += 1;
            if shown >= MAX_FIRST_LINES {
                break;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(FIRST_LINES_WAIT, show).await.unwrap_or(Ok(()))?;
    note!("more: cofferdam agent logs {} -f", deployment.agent);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_where_its_goal_is() {
        let ended = |goal: Goal, state: &str| {
            let progress = DeploymentState::parse(state).map_or(Progress::Pending, DeploymentState::progress);
            goal.ended(state, progress)
        };
        for (state, up, stopped) in [
            ("Applying", None, None),
            ("Starting", None, None),
            ("Up", Some(Ended::Done), None),
            ("CrashLoop", Some(Ended::NotUp), None),
            ("Failed", Some(Ended::NotUp), Some(Ended::Done)),
            ("Stopping", Some(Ended::NotUp), None),
            ("Stopped", Some(Ended::NotUp), Some(Ended::Done)),
            ("Something new", None, None),
        ] {
            assert_eq!((ended(Goal::Up, state), ended(Goal::Stopped, state)), (up, stopped), "{state}");
        }
    }
}
