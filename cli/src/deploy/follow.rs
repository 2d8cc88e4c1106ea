//! Shows how a deployment comes up, state by state, and its first log lines.

use std::time::{Duration, Instant};

use cofferdam_contract::{LogLine, Progress};

use super::wire::{Deployment, Event};
use super::{Ended, look, path};
use crate::client::{Server, segment};
use crate::terminal::{note, plain, say};

/// The longest wait for the first lines.
const FIRST_LINES_WAIT: Duration = Duration::from_secs(3);
const MAX_FIRST_LINES: usize = 10;

/// Waits until it is up, has failed, or the time is over.
pub(super) async fn wait(
    server: &Server,
    deployment: Deployment,
    until: Instant,
) -> anyhow::Result<(Ended, Deployment)> {
    let place = path(&deployment.agent, deployment.number);
    let (mut last, mut shown) = (String::new(), String::new());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // A stream that ends early is opened again after the last event.
        let _ = tokio::time::timeout(left, events(server, &place, &mut last, &mut shown)).await;
        match look(server, &deployment.agent, deployment.number).await {
            Ok(deployment) => match deployment.progress() {
                Progress::Up => return Ok((Ended::Done, deployment)),
                Progress::Failed | Progress::Stopped => {
                    explain(&deployment, &shown);
                    return Ok((Ended::NotUp, deployment));
                }
                Progress::Pending if Instant::now() >= until => {
                    note!(
                        "still {} after --timeout; the deployment continues: cofferdam agent show {}",
                        deployment.state,
                        deployment.agent
                    );
                    return Ok((Ended::Waited, deployment));
                }
                Progress::Pending => {}
            },
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Shows changes as they happen, until the deployment settles or the stream ends.
async fn events(server: &Server, place: &str, last: &mut String, shown: &mut String) -> anyhow::Result<()> {
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
        let is_last = event.is_last();
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
pub(super) async fn first_lines(server: &Server, deployment: &Deployment) {
    let path = format!(
        "/agents/{}/logs?follow=true&tail={MAX_FIRST_LINES}&version={}",
        segment(&deployment.agent),
        deployment.number
    );
    let mut shown = 0;
    let show = async {
        let mut events = server.events(&path).await?;
        while let Some(sent) = events.next().await? {
            let Ok(line) = serde_json::from_str::<LogLine>(&sent.data.unwrap_or_default()) else { continue };
            say!("{}", plain(&line.line))?;
            shown += 1;
            if shown >= MAX_FIRST_LINES {
                break;
            }
        }
        anyhow::Ok(())
    };
    // The deployment is up even if its lines cannot be shown.
    let _ = tokio::time::timeout(FIRST_LINES_WAIT, show).await;
    note!("more: cofferdam agent logs {} -f", deployment.agent);
}
