//! Shows how a deployment comes up, state by state, and its first log lines.

use std::time::{Duration, Instant};

use cofferdam_contract::{DeploymentState, LogLine, Progress};

use super::wire::{Deployment, Event};
use super::{Ended, look, path};
use crate::client::{Server, segment};
use crate::terminal::{Colours, note, print};

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

/// A wait for a deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// The command that asked for it: `deploy`, `stop`.
    pub(crate) command: &'static str,
    pub(crate) goal: Goal,
    pub(crate) timeout: Duration,
    /// Events up to this one are not shown: they were there before the command.
    pub(crate) after: u64,
}

impl Wait {
    /// Waits until it has reached the goal, cannot reach it any more, or the time is over.
    pub(crate) async fn end(self, server: &Server, deployment: Deployment) -> anyhow::Result<(Ended, Deployment)> {
        let until = Instant::now() + self.timeout;
        let place = path(&deployment.agent, deployment.number);
        if let Some(ended) = self.ended(&deployment, "") {
            return Ok((ended, deployment));
        }
        let (mut last, mut shown) = (self.after.to_string(), String::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // A stream that ends early is opened again after the last event.
            let _ = tokio::time::timeout(left, self.events(server, &place, &mut last, &mut shown)).await;
            match look(server, &deployment.agent, deployment.number).await {
                Ok(deployment) => match self.ended(&deployment, &shown) {
                    Some(ended) => return Ok((ended, deployment)),
                    None if Instant::now() >= until => {
                        note!("{}", self.unfinished(&deployment));
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

    /// The end, if it is there; a failure is explained, except for `shown`, which is on the terminal.
    fn ended(self, deployment: &Deployment, shown: &str) -> Option<Ended> {
        let ended = self.goal.ended(&deployment.state, deployment.progress())?;
        if ended == Ended::NotUp {
            explain(deployment, shown);
        }
        Some(ended)
    }

    /// The sentence after the longest time.
    fn unfinished(self, deployment: &Deployment) -> String {
        let (agent, state) = (&deployment.agent, &deployment.state);
        let time = self.timeout.as_secs();
        let what = if self.command == "deploy" { "deployment" } else { self.command };
        let mut text = format!(
            "still {state} after {time} s (--timeout); the {what} goes on without this command. Look again with \
             `cofferdam agent show {agent}`"
        );
        if self.goal == Goal::Up {
            text.push_str(&format!(", or at its log: `cofferdam agent logs {agent} -f`"));
        }
        text
    }

    /// Shows changes as they happen, until the deployment settles or the stream ends.
    async fn events(self, server: &Server, place: &str, last: &mut String, shown: &mut String) -> anyhow::Result<()> {
        let path = format!("{place}/events?after={last}");
        let mut events = server.events(&path).await?;
        while let Some(sent) = events.next().await? {
            if let Some(id) = sent.id.filter(|id| !id.is_empty()) {
                *last = id;
            }
            let Ok(event) = serde_json::from_str::<Event>(&sent.data.unwrap_or_default()) else { continue };
            let detail = if event.detail.is_empty() { String::new() } else { format!("  {}", event.detail) };
            note!("{:<10}{detail}", event.state);
            let is_last = self.goal.ended(&event.state, event.progress()).is_some();
            *shown = event.detail;
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }
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
        note!("  {line}");
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
            print(&format!("{}\n", Colours::line(&line.line)))?;
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
