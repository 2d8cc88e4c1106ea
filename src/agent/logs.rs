//! Shows an agent's log, and goes on where a stream broke off.

use std::time::Duration;

use anyhow::{Context, bail};
use cofferdam_contract::LogLine;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Empty};

use super::path;
use crate::commands::agent::Logs;
use crate::deploy::plain;
use crate::run::wire::{Server, refusal};
use crate::server::segment;
use crate::sse::{Frame, Frames};

/// Attempts in a row that bring no line.
const ATTEMPTS: u32 = 10;
/// Of a log that is only shown.
const USUAL: u64 = 200;

pub async fn logs(server: &Server, args: &Logs) -> anyhow::Result<()> {
    let agent = path(&args.id);
    let agent = agent.strip_prefix("/v1").unwrap_or(&agent);
    let mut last = None;
    let mut in_vain = 0;
    loop {
        let before = last.clone();
        match stream(server, agent, args, &mut last).await {
            Ok(()) if !args.follow => return Ok(()),
            // The server ends or is restarted: it goes on.
            Ok(()) => {}
            Err(error) if !args.follow || last.is_none() => return Err(error),
            Err(_) if last != before => {}
            Err(error) if in_vain >= ATTEMPTS => return Err(error),
            Err(_) => {}
        }
        in_vain = if last == before { in_vain + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(200 << in_vain.min(5))).await;
    }
}

async fn stream(server: &Server, agent: &str, args: &Logs, last: &mut Option<String>) -> anyhow::Result<()> {
    let mut query = format!("follow={}", args.follow);
    let mut add = |name: &str, value: &str| query.push_str(&format!("&{name}={}", segment(value)));
    match last.as_deref() {
        // The header says where to go on.
        Some(_) => {}
        None => {
            if let Some(since) = &args.since {
                add("since", since);
            }
            if args.since.is_none() || args.tail.is_some() {
                add("tail", &args.tail.unwrap_or(USUAL).to_string());
            }
        }
    }
    if let Some(grep) = &args.grep {
        add("grep", grep);
    }
    if let Some(version) = args.version {
        add("version", &version.to_string());
    }
    let mut headers = server.headers.clone();
    headers.push((ACCEPT, HeaderValue::from_static("text/event-stream")));
    if let Some(id) = last.as_deref() {
        headers.push((HeaderName::from_static("last-event-id"), HeaderValue::from_str(id)?));
    }
    let nothing = Empty::new().map_err(|never| match never {}).boxed();
    let response = server.address.exchange(Method::GET, &format!("{agent}/logs?{query}"), &headers, nothing).await?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let mut body = response.into_body();
    let mut frames = Frames::default();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.context("the stream broke off")?.into_data() else { continue };
        for frame in frames.push(&piece)? {
            show(&frame, args)?;
            if !frame.id.is_empty() {
                *last = Some(frame.id);
            }
        }
    }
    Ok(())
}

fn show(frame: &Frame, args: &Logs) -> anyhow::Result<()> {
    match frame.event.as_str() {
        "log" | "" => {}
        "failed" => bail!("the server: {}", plain(&frame.data)),
        "end" => return Ok(()),
        // A gap: said beside the lines.
        other => {
            eprintln!("[{other}] {}", plain(&frame.data));
            return Ok(());
        }
    }
    if args.json {
        println!("{}", frame.data);
        return Ok(());
    }
    let line: LogLine = serde_json::from_str(&frame.data).context("a line of the log")?;
    if args.timestamps {
        println!("{} v{} {} {}", line.time, line.version, line.pod, plain(&line.line));
    } else {
        println!("{}", plain(&line.line));
    }
    Ok(())
}
