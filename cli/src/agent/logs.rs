//! `cofferdam agent logs`: shows an agent's log, and resumes after a broken connection.

use std::time::Duration;

use anyhow::bail;
use cofferdam_contract::LogLine;
use http::Method;
use serde_json::Value;
use sse_stream::Sse;

use super::args::Logs;
use super::path;
use crate::client::{ClientError, Server, events, segment};
use crate::terminal::{Closed, Colours, json_line, note, plain, print};

/// The longest row of attempts without a line.
const MAX_ATTEMPTS: u32 = 10;
/// The number of lines without --since and --tail.
const DEFAULT_TAIL: u32 = 200;

pub(super) async fn logs(server: &Server, args: &Logs) -> anyhow::Result<()> {
    let agent = path(&args.which.id);
    let agent = agent.strip_prefix("/v1").unwrap_or(&agent);
    let mut last = None;
    let mut in_vain = 0;
    loop {
        let before = last.clone();
        match stream(server, agent, args, &mut last).await {
            Ok(Shown::Deleted) => {
                note!("{}: the agent was deleted, and its log ends here", args.which.id);
                return Ok(());
            }
            Ok(Shown::Ended) if !args.follow => return Ok(()),
            // The server was stopped or restarted.
            Ok(Shown::Ended) => {}
            // It was deleted while the connection was away.
            Err(error) if last.is_some() && error.downcast_ref().is_some_and(ClientError::is_not_found) => {
                note!("{}: the agent was deleted, and its log ends here", args.which.id);
                return Ok(());
            }
            Err(error) if !args.follow || last.is_none() || error.is::<Closed>() => return Err(error),
            Err(_) if last != before => {}
            Err(error) if in_vain >= MAX_ATTEMPTS => return Err(error),
            Err(_) => {}
        }
        in_vain = if last == before { in_vain + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(200 << in_vain.min(5))).await;
    }
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Ended,
    Deleted,
}

async fn stream(server: &Server, agent: &str, args: &Logs, last: &mut Option<String>) -> anyhow::Result<Shown> {
    let mut query = format!("follow={}", args.follow);
    let mut add = |name: &str, value: &str| query.push_str(&format!("&{name}={}", segment(value)));
    match last.as_deref() {
        // The header says where to resume.
        Some(_) => {}
        None => {
            if let Some(since) = &args.since {
                add("since", since);
            }
            if args.since.is_none() || args.tail.is_some() {
                add("tail", &args.tail.unwrap_or(DEFAULT_TAIL).to_string());
            }
        }
    }
    if let Some(grep) = &args.grep {
        add("grep", grep);
    }
    if let Some(version) = args.version {
        add("version", &version.to_string());
    }
    let mut request = server.request(Method::GET, &format!("{agent}/logs?{query}"));
    if let Some(id) = last.as_deref() {
        request = request.header("last-event-id", id);
    }
    let mut events = events(request).await?;
    while let Some(event) = events.next().await? {
        if was_deleted(&event) {
            return Ok(Shown::Deleted);
        }
        show(&event, args)?;
        if let Some(id) = event.id.filter(|id| !id.is_empty()) {
            *last = Some(id);
        }
    }
    Ok(Shown::Ended)
}

/// The server says that the agent is gone: nothing more comes, and there is nothing to ask again.
fn was_deleted(event: &Sse) -> bool {
    let data: Value = serde_json::from_str(event.data.as_deref().unwrap_or_default()).unwrap_or_default();
    event.event.as_deref() == Some("end") && data.get("reason").and_then(Value::as_str) == Some("deleted")
}

fn show(event: &Sse, args: &Logs) -> anyhow::Result<()> {
    let data = event.data.as_deref().unwrap_or_default();
    match event.event.as_deref().unwrap_or_default() {
        "log" => {}
        "" if !data.is_empty() => {}
        "failed" => bail!("the server: {data}"),
        "end" | "" => return Ok(()),
        // A gap, shown beside the lines.
        other => {
            note!("[{other}] {data}");
            return Ok(());
        }
    }
    if args.json {
        return print(&format!("{}\n", json_line(data)));
    }
    let line: LogLine = serde_json::from_str(data).map_err(|_| ClientError::Foreign)?;
    let text = Colours::line(&line.line);
    if args.timestamps {
        return print(&format!("{} v{} {} {text}\n", plain(&line.time), line.version, plain(&line.pod)));
    }
    print(&format!("{text}\n"))
}
