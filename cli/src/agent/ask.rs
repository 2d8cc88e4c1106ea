//! `cofferdam agent ask`: gives an agent a task, and shows it at work.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use http::Method;
use serde_json::{Value, json};

use super::define::read_file;
use super::definition_args::Ask;
use super::path;
use super::show::word;
use crate::client::{Server, call, json as with_json, read};
use crate::live::{End, Form, Start, live, summary};
use crate::terminal::{Output, json as print_json, note};

/// The body of the call.
fn body(args: &Ask, text: &str) -> Value {
    let mut body = json!({ "input": text, "source": "cli" });
    if let Some(body) = body.as_object_mut() {
        body.extend(args.thread.clone().map(|thread| ("thread".to_owned(), thread.into())));
        body.extend(args.version.map(|version| ("version".to_owned(), version.to_string().into())));
    }
    body
}

/// The question: the words, or standard input.
fn text(args: &Ask) -> anyhow::Result<String> {
    let text = match args.text.as_slice() {
        [dash] if dash == "-" => {
            String::from_utf8(read_file(Path::new("-"))?).context("standard input is not UTF-8")?
        }
        words => words.join(" "),
    };
    if text.trim().is_empty() {
        bail!("there is nothing to ask: the text is empty");
    }
    Ok(text)
}

/// A key under which the same call makes no second task.
fn once() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context("the system's random numbers")?;
    Ok(bytes.iter().fold("cli-".to_owned(), |mut key, byte| {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
        key
    }))
}

pub(super) async fn ask(server: &Server, args: &Ask) -> anyhow::Result<ExitCode> {
    let body = serde_json::to_vec(&body(args, &text(args)?))?;
    let invoke = format!("{}/invoke", path(&args.which.id));
    if args.no_stream {
        let request = with_json(server.request(Method::POST, &invoke), body).header("idempotency-key", once()?);
        return finished(&read(&call(request).await?)?, args.json);
    }
    let start = Start::Invoke { path: format!("{invoke}/stream"), body, once: once()? };
    Ok(live(server, start, if args.json { Form::Json } else { Form::Live }).await?.into())
}

/// Shows the task that was waited for.
fn finished(task: &Value, as_json: bool) -> anyhow::Result<ExitCode> {
    let end = match word(task, "status") {
        "completed" => End::Completed,
        "failed" | "error" | "stopped" => End::Failed,
        _ => End::Waits,
    };
    if as_json {
        print_json(task)?;
        return Ok(end.into());
    }
    let result = word(task, "result");
    if !result.is_empty() {
        Output::stdout().whole(result)?;
    }
    match end {
        End::Waits => {
            let id = word(task, "id");
            note!("the task is {}; look at it with: cofferdam task show {id}", word(task, "status"));
        }
        _ => summary(task),
    }
    Ok(end.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ask: Ask,
    }

    #[test]
    fn the_words_are_the_question() {
        let line = Line::try_parse_from(["x", "analyst", "How", "many?", "--thread", "thread_1", "--version", "v3"]);
        let ask = line.map(|line| line.ask).unwrap_or_else(|error| unreachable!("{error}"));
        let text = text(&ask).unwrap_or_else(|error| unreachable!("{error}"));
        let sent = json!({"input": "How many?", "source": "cli", "thread": "thread_1", "version": "3"});
        assert_eq!(body(&ask, &text), sent);
        let empty = Line::try_parse_from(["x", "analyst", "  "]).map(|line| super::text(&line.ask).is_err());
        assert!(matches!(empty, Ok(true)));
    }
}
