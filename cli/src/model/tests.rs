//! The output of the commands.

use clap::Parser;
use http::StatusCode;
use serde_json::json;

use super::args::{Command, Model};
use super::list::{Listed, row};
use super::test::{advice, chats, message, money, told};
use super::usage::{calls, path, rows};

#[test]
fn a_model_is_listed_with_its_price_if_that_is_known() {
    let model = Listed { id: "fast".into(), owner: "alias".into() };
    let costs = [
        json!({"model": "fast", "served_by": "openai/gpt-5", "price": {"input": "1.25", "cached_input": "0.125", "output": "10"}}),
        json!({"model": "fast", "served_by": "local/qwen"}),
    ];
    assert_eq!(row(&model, None, 0), ["fast", "alias"]);
    assert_eq!(row(&model, Some(&costs), 0), ["fast", "openai/gpt-5", "1.25", "0.125", "10"]);
    assert_eq!(row(&model, Some(&costs), 1), ["fast", "local/qwen", "?", "?", "?"]);
    assert_eq!(row(&model, Some(&costs), 7), ["fast", "alias", "?", "?", "?"]);
}

#[test]
fn a_call_is_told_with_time_tokens_and_money() {
    let answer = json!({"usage": {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}});
    let price = json!({"input": "2", "cached_input": "0.5", "output": "10"});
    assert_eq!(money(&answer, &price).as_deref(), Some("0.0024"));
    for (tokens, price, expected) in [
        ((13, 0), "0.5", "0.0000065"),
        ((1, 0), "0.0001", "0.000000001"),
        ((3, 0), "0.1", "0.0000003"),
        ((0, 0), "2", "0"),
        ((1_000_000, 1_000_000), "1", "2"),
        ((10_000_000, 0), "1", "10"),
    ] {
        let answer = json!({"usage": {"prompt_tokens": tokens.0, "completion_tokens": tokens.1}});
        assert_eq!(money(&answer, &json!({"input": price, "output": price})).as_deref(), Some(expected));
    }
    assert_eq!(money(&answer, &json!({"input": "2"})), None);
    assert_eq!(money(&json!({}), &price), None);
    let line = told("fast", "openai/gpt-5", 812, &answer, Some("0.0024"));
    assert_eq!(line, "fast (served by openai/gpt-5): answered in 812 ms, 1000 tokens in, 100 out, $0.0024");
    assert_eq!(told("a/b", "a/b", 5, &json!({}), None), "a/b: answered in 5 ms, no usage told");
}

#[test]
fn a_failure_says_what_to_do() {
    let openai = json!({"error": {"message": "The model `x` does not exist."}});
    assert_eq!(message(StatusCode::NOT_FOUND, &openai), "The model `x` does not exist.");
    assert_eq!(message(StatusCode::FORBIDDEN, &json!({"detail": "no"})), "no");
    assert_eq!(message(StatusCode::BAD_GATEWAY, &json!(null)), "the server answered 502 Bad Gateway");
    for (status, part) in
        [(401, "COFFERDAM_API_KEY"), (404, "model list"), (429, "/v1/budgets"), (503, "--upstream openai")]
    {
        assert!(advice(StatusCode::from_u16(status).unwrap(), "openai/gpt-5", "").contains(part), "{status}");
    }
    assert!(advice(StatusCode::GATEWAY_TIMEOUT, "fast", "").contains("--upstream NAME"));
    let unpriced = "The budget `b` is in money, and no price of a/b is known; set one with PUT /v1/model-prices.";
    for (said, part) in [("not allowed", "/v1/model-rules"), (unpriced, "/v1/model-prices/MODEL")] {
        assert!(advice(StatusCode::FORBIDDEN, "a/b", said).contains(part), "{said}");
    }
}

#[test]
fn a_model_for_chats_is_chosen_from_the_list() {
    let chosen = |names: &[&str]| {
        let models: Vec<_> = names.iter().map(|id| Listed { id: (*id).into(), owner: String::new() }).collect();
        chats(&models).map(str::to_owned)
    };
    let ollama = ["all-minilm", "nomic-embed-text:latest", "ollama/all-minilm", "qwen3:8b"];
    assert_eq!(chosen(&ollama).as_deref(), Some("qwen3:8b"));
    let openai = ["babbage-002", "dall-e-3", "gpt-4o-mini-tts", "gpt-5-mini", "text-embedding-3-small"];
    assert_eq!(chosen(&openai).as_deref(), Some("gpt-5-mini"));
    assert_eq!(chosen(&["text-Embedding-3-large"]), None);
    assert_eq!(chosen(&[]), None);
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    model: Model,
}

fn usage(line: &[&str]) -> super::args::Usage {
    let line = Line::try_parse_from(["model", "usage"].iter().chain(line));
    match line.unwrap_or_else(|error| unreachable!("{error}")).model.command {
        Command::Usage(usage) => usage,
        _ => unreachable!(),
    }
}

#[test]
fn a_question_about_usage_is_a_path() {
    let now_ms = 1_000_000_000;
    assert_eq!(path(&usage(&[]), now_ms), "/v1/usage?from=395200&group_by=model,day");
    let asked = usage(&["--by", "key", "--since", "1h", "--model", "a/b c", "--agent", "x&y=z", "--csv"]);
    assert_eq!(path(&asked, now_ms), "/v1/usage?from=996400&group_by=key&model=a%2Fb%20c&agent=x%26y%3Dz&format=csv");
    let served = usage(&["--by", "served,month", "--since", "1h", "--served", "gpt-5"]);
    assert_eq!(path(&served, now_ms), "/v1/usage?from=996400&group_by=served,month&served=gpt-5");
}

#[test]
fn a_group_that_is_none_is_refused_with_those_there_are() {
    for wrong in ["model, day", "colour", "", "model,", "Model"] {
        let refused = Line::try_parse_from(["model", "usage", "--by", wrong]).err().map(|error| error.to_string());
        let refused = refused.unwrap_or_else(|| unreachable!("{wrong:?}"));
        assert!(refused.contains("key, agent, task, model, served"), "{wrong:?}: {refused}");
    }
}

#[test]
fn single_calls_are_asked_for_and_shown() {
    let asked = usage(&["--calls", "--since", "1h", "--agent", "a b"]);
    assert_eq!(path(&asked, 1_000_000_000), "/v1/usage/calls?from=996400&limit=20&agent=a%20b");
    let csv = usage(&["--calls", "--limit", "1000", "--since", "1h", "--csv"]);
    assert_eq!(path(&csv, 1_000_000_000), "/v1/usage/calls?from=996400&limit=1000&format=csv");
    for wrong in [&["--calls", "--by", "key"][..], &["--limit", "5"], &["--calls", "--limit", "1001"]] {
        assert!(Line::try_parse_from(["model", "usage"].iter().chain(wrong)).is_err(), "{wrong:?}");
    }
    let call = json!({"id": "call_1", "at": "2026-11-30T12:00:00Z", "model": "fast", "upstream": "eu", "served": null,
        "ending": "ok", "input_tokens": 10, "cached_tokens": 0, "output_tokens": 3, "cost_usd": "0.01", "wall_ms": 7});
    let row = ["2026-11-30T12:00:00Z", "fast", "eu", "-", "ok", "10", "0", "3", "0.01", "7", "call_1"];
    assert_eq!(calls(&[call]), [row]);
}

#[test]
fn a_row_has_its_groups_and_sums() {
    let row = json!({"group": {"model": "gpt-5", "agent": null}, "requests": 2, "errors": 0, "input_tokens": 10,
        "cached_tokens": 0, "output_tokens": 3, "cost_usd": "0.01", "wall_avg_ms": 7});
    let by = ["model".to_owned(), "agent".to_owned()];
    assert_eq!(rows(&[row], &by), [["gpt-5", "-", "2", "0", "10", "0", "3", "0.01", "7"]]);
}
