//! `cofferdam thread`: lists, shows, searches, forks and deletes threads.

pub(crate) mod args;

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use crate::client::{Server, block_on, find, read, segment};
use crate::task::{filter, pages, second, short};
use crate::terminal::{Page, json as print_json, json_line, note, put, say};
use crate::{Machine, table};
use args::{Command, Fork, List, Search, Show};

/// The longest title and piece of a message in a list, in characters.
const MAX_PIECE: usize = 100;
/// The largest page of messages that the server gives.
const MAX_PAGE: u64 = 200;

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    match command {
        Command::List(args) => block_on(list(&server, &args))?,
        Command::Show(args) => block_on(show(&server, &args))?,
        Command::Search(args) => block_on(search(&server, &args))?,
        Command::Fork(args) => block_on(fork(&server, &args))?,
        Command::Delete(args) => block_on(delete(&server, &args.id))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn count(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

async fn list(server: &Server, args: &List) -> anyhow::Result<()> {
    let query = filter("agent", args.agent.as_deref()) + &filter("user", args.user.as_deref());
    let threads = pages(server, "/v1/threads", &query, "threads", args.limit).await?;
    if args.output.json {
        return print_json(&json!({ "threads": threads }));
    }
    let row = |thread: &Value| {
        vec![
            text(thread, "/id").to_owned(),
            text(thread, "/agent_id").to_owned(),
            count(thread, "/messages").to_string(),
            second(text(thread, "/updated_at")),
            short(text(thread, "/title"), MAX_PIECE),
        ]
    };
    table::print(&["THREAD", "AGENT", "MESSAGES", "CHANGED", "TITLE"], &threads.iter().map(row).collect::<Vec<_>>())
}

async fn show(server: &Server, args: &Show) -> anyhow::Result<()> {
    let path = format!("/v1/threads/{}", segment(&args.id));
    let thread: Value = server.get(&path).await?;
    let (mut messages, mut before) = (Vec::new(), count(&thread, "/messages").saturating_add(1));
    let mut left = u64::from(args.last);
    // From the end towards the beginning.
    while left > 0 && before > 1 {
        let limit = left.min(MAX_PAGE);
        let mut page: Value = server.get(&format!("{path}/messages?before={before}&limit={limit}")).await?;
        let mut found = page.get_mut("messages").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let Some(first) = found.first().map(|first| count(first, "/seq")).filter(|first| *first < before) else {
            break;
        };
        (left, before) = (left.saturating_sub(found.len() as u64), first);
        found.append(&mut messages);
        messages = found;
    }
    if args.output.json {
        return print_json(&json!({ "thread": thread, "messages": messages }));
    }
    page(&thread, &messages).print()
}

fn page(thread: &Value, messages: &[Value]) -> Page {
    let mut out = Page::default();
    let (id, agent) = (text(thread, "/id"), text(thread, "/agent_id"));
    put!(out, "{id}  agent {agent}, {} messages", count(thread, "/messages"));
    for message in messages {
        put!(out);
        let tool = text(message, "/tool");
        let tool = if tool.is_empty() { String::new() } else { format!(" {tool}") };
        put!(
            out,
            "#{} {}{tool}  {}",
            count(message, "/seq"),
            text(message, "/role"),
            second(text(message, "/created_at"))
        );
        for line in text(message, "/text").lines() {
            put!(out, "  {line}");
        }
        let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for call in calls {
            let arguments = call.get("arguments").cloned().unwrap_or_default().to_string();
            put!(out, "  calls {} {}", text(call, "/name"), json_line(&arguments));
        }
    }
    out
}

async fn fork(server: &Server, args: &Fork) -> anyhow::Result<()> {
    let body = args.at.map_or_else(|| json!({}), |message| json!({ "message": message }));
    let path = format!("/v1/threads/{}/fork", segment(&args.id));
    let made: Value = read(&server.send(Method::POST, &path, serde_json::to_vec(&body)?).await?)?;
    if args.output.json {
        return print_json(&made);
    }
    say!("{}", text(&made, "/id"))?;
    note!("next: cofferdam agent ask {} --thread {} '...'", text(&made, "/agent_id"), text(&made, "/id"));
    Ok(())
}

async fn delete(server: &Server, id: &str) -> anyhow::Result<()> {
    server.delete(&format!("/v1/threads/{}", segment(id))).await?;
    note!("{id}: deleted, with its tasks, messages and events");
    Ok(())
}

async fn search(server: &Server, args: &Search) -> anyhow::Result<()> {
    let query = filter("q", Some(&args.words.join(" ")))
        + &filter("agent", args.agent.as_deref())
        + &filter("thread", args.thread.as_deref());
    let found = pages(server, "/v1/search", &query, "messages", args.limit).await?;
    if args.output.json {
        return print_json(&json!({ "messages": found }));
    }
    let row = |message: &Value| {
        vec![
            text(message, "/thread_id").to_owned(),
            format!("#{}", count(message, "/seq")),
            text(message, "/agent_id").to_owned(),
            text(message, "/role").to_owned(),
            text(message, "/snippet").split_whitespace().collect::<Vec<_>>().join(" "),
        ]
    };
    table::print(&["THREAD", "MESSAGE", "AGENT", "OF", "TEXT"], &found.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        thread: args::Thread,
    }

    #[test]
    fn a_fork_ends_at_a_message() {
        let line = |words: &[&str]| {
            let line = <Line as clap::Parser>::try_parse_from(["x"].iter().chain(words));
            line.map(|line| match line.thread.command {
                Command::Fork(fork) => fork.at,
                _ => None,
            })
        };
        assert_eq!(line(&["fork", "thread_1", "--at", "#4"]).ok(), Some(Some(4)));
        assert_eq!(line(&["fork", "thread_1"]).ok(), Some(None));
        for wrong in ["0", "-1", "x", ""] {
            assert!(line(&["fork", "thread_1", "--at", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_thread_is_told_message_by_message() {
        let thread = json!({"id": "thread_1", "agent_id": "a", "messages": 2});
        let messages = [
            json!({"seq": 1, "role": "user", "text": "Hi\u{1b}[2J\n#9 assistant", "created_at": "2026-11-30T12:03:04.000Z"}),
            json!({"seq": 2, "role": "assistant", "tool_calls": [{"name": "rm", "arguments": {"a": "\u{202e}"}}]}),
        ];
        let shown = page(&thread, &messages);
        assert_eq!(
            shown.as_str(),
            "thread_1  agent a, 2 messages\n\n#1 user  2026-11-30 12:03:04\n  Hi\\u{1b}[2J\n  #9 assistant\n\n\
             #2 assistant  \n  calls rm {\"a\":\"\\u202e\"}\n"
        );
    }
}
