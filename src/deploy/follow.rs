//! Tells how a deployment comes up, state by state, and its first lines once it is.

use std::time::{Duration, Instant};

use anyhow::Context;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::wire::{Deployment, Event};
use super::{Ended, look, path};
use crate::run::wire::Server;
use crate::server::segment;
use crate::sse::Frames;

/// How long the first lines are waited for.
const FIRST: Duration = Duration::from_secs(3);
const FIRST_LINES: usize = 10;

/// Waits until it is up, has failed, or the time is over.
pub async fn wait(server: &Server, deployment: Deployment, until: Instant) -> anyhow::Result<(Ended, Deployment)> {
    let place = path(&deployment.agent, deployment.number);
    let (mut last, mut said) = (String::new(), String::new());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // A stream that ends early is opened again, from where it was.
        let _ = tokio::time::timeout(left, events(server, &place, &mut last, &mut said)).await;
        match look(server, &deployment.agent, deployment.number).await {
            Ok(deployment) => match deployment.state.as_str() {
                "Up" => return Ok((Ended::Done, deployment)),
                "Failed" | "CrashLoop" | "Stopped" | "Stopping" => {
                    why(&deployment, &said);
                    return Ok((Ended::NotUp, deployment));
                }
                state if Instant::now() >= until => {
                    eprintln!("still {state} after --timeout; it goes on: cofferdam agent show {}", deployment.agent);
                    return Ok((Ended::Waited, deployment));
                }
                _ => {}
            },
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Shows changes as they happen, until it is settled or the stream ends.
async fn events(server: &Server, place: &str, last: &mut String, said: &mut String) -> anyhow::Result<()> {
    let from = if last.is_empty() { String::new() } else { format!("?after={last}") };
    let path = format!("{place}/events{from}");
    let mut body = server.send(Method::GET, &path, Vec::new(), "text/event-stream").await?.into_body();
    let mut frames = Frames::default();
    while let Some(piece) = next(&mut body).await? {
        for frame in frames.push(&piece)? {
            if !frame.id.is_empty() {
                frame.id.clone_into(last);
            }
            let Ok(event) = serde_json::from_str::<Event>(&frame.data) else { continue };
            let detail = if event.detail.is_empty() { String::new() } else { format!("  {}", event.detail) };
            eprintln!("{:<10}{detail}", event.state);
            *said = event.detail;
            if matches!(event.state.as_str(), "Up" | "Failed" | "CrashLoop" | "Stopped") {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn next(body: &mut Incoming) -> anyhow::Result<Option<bytes::Bytes>> {
    loop {
        let Some(frame) = body.frame().await else { return Ok(None) };
        if let Ok(data) = frame.context("the stream broke off")?.into_data() {
            return Ok(Some(data));
        }
    }
}

/// Why it did not come up, beside what was said last.
fn why(deployment: &Deployment, said: &str) {
    if deployment.detail != said {
        eprintln!("{}", deployment.detail);
    }
    if let Some(code) = deployment.exit_code {
        eprintln!("exit code {code}");
    }
    if !deployment.last_lines.is_empty() {
        eprintln!("its last lines:");
    }
    for line in &deployment.last_lines {
        eprintln!("  {}", plain(line));
    }
}

/// Without the characters that a terminal obeys: what an agent wrote is shown, not carried out.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Shows the first lines that it has written, as far as they come soon.
pub async fn first_lines(server: &Server, deployment: &Deployment) {
    let path = format!(
        "/agents/{}/logs?follow=true&tail={FIRST_LINES}&version={}",
        segment(&deployment.agent),
        deployment.number
    );
    let mut shown = 0;
    let show = async {
        let mut body = server.send(Method::GET, &path, Vec::new(), "text/event-stream").await?.into_body();
        let mut frames = Frames::default();
        while let Some(piece) = next(&mut body).await? {
            for frame in frames.push(&piece)? {
                let Ok(line) = serde_json::from_str::<cofferdam_contract::LogLine>(&frame.data) else { continue };
                println!("{}", plain(&line.line));
                shown += 1;
                if shown >= FIRST_LINES {
                    return anyhow::Ok(());
                }
            }
        }
        Ok(())
    };
    // It is up whether its lines can be shown or not.
    let _ = tokio::time::timeout(FIRST, show).await;
    eprintln!("more: cofferdam agent logs {} -f", deployment.agent);
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_an_agent_wrote_does_not_drive_the_terminal() {
        assert_eq!(plain("a\tb\u{1b}[2Jc\r\u{9b}1m"), "a\tb\u{fffd}[2Jc\u{fffd}\u{fffd}1m");
    }
}
