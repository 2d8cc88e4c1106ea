//! `cofferdam model test`: one tiny call of a model, or the test of an upstream. Says what to do when it fails.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::args::Test;
use super::list::{Listed, models, of};
use crate::client::{Server, call, exchange, json as with_json, read, segment, summary};
use crate::terminal::{complain, json as print_json, note, say};

/// Parts of the names of models that do something else than chat.
const NO_CHAT: [&str; 23] = [
    "embed",
    "minilm",
    "bge-",
    "e5-",
    "gte-",
    "rerank",
    "similarity",
    "-search-",
    "moderation",
    "guard",
    "whisper",
    "transcribe",
    "tts",
    "speech",
    "audio",
    "realtime",
    "dall-e",
    "image",
    "sora",
    "veo-",
    "diffusion",
    "babbage",
    "davinci",
];
/// Enough for a model that thinks a little before it says a word.
const MAX_TOKENS: u32 = 256;

pub(super) async fn test(server: &Server, args: &Test) -> anyhow::Result<ExitCode> {
    if let Some(upstream) = &args.upstream {
        return test_upstream(server, upstream, args.output.json).await;
    }
    let model = match &args.model {
        Some(model) => model.clone(),
        None => {
            let models = models(server).await?;
            match chats(&models) {
                Some(model) => model.to_owned(),
                None if models.is_empty() => {
                    bail!("there is no model that this key may use; `cofferdam model --help` shows how to add one")
                }
                None => bail!("no model of the list looks like one for chats; name one: `cofferdam model test MODEL`"),
            }
        }
    };
    test_model(server, &model, args.output.json).await
}

/// The first model whose name does not say that it does something else than chat.
pub(super) fn chats(models: &[Listed]) -> Option<&str> {
    let other = |name: &str| {
        let name = name.to_ascii_lowercase();
        NO_CHAT.iter().any(|part| name.contains(part))
    };
    models.iter().map(|model| model.id.as_str()).find(|id| !other(id))
}

async fn test_upstream(server: &Server, name: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/upstreams/{}/test", segment(name));
    let report: Value = read(&call(server.request(Method::POST, &path)).await?)?;
    let good = report.get("ok").and_then(Value::as_bool) == Some(true);
    if as_json {
        print_json(&report)?;
    } else {
        let detail = report.get("detail").and_then(Value::as_str).unwrap_or_default();
        let time = report.get("wall_ms").and_then(Value::as_u64).unwrap_or_default();
        let word = if good { "ok" } else { "failed" };
        say!("{name}: {word} after {time} ms{}{detail}", if detail.is_empty() { "" } else { ": " })?;
        if let Some(models) = report.get("models").and_then(Value::as_array) {
            let some: Vec<&str> = models.iter().filter_map(Value::as_str).take(20).collect();
            let more = models.len().saturating_sub(some.len());
            say!("models: {}{}", some.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn test_model(server: &Server, model: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": "Say only: ok"}],
        "max_completion_tokens": MAX_TOKENS,
    });
    let request = with_json(server.request(Method::POST, "/v1/chat/completions"), serde_json::to_vec(&body)?);
    let began = Instant::now();
    let response = exchange(request).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let answer = summary(response).await;
    let time = began.elapsed().as_millis();
    let served = header(&headers, "x-cofferdam-model").unwrap_or(model).to_owned();
    if !status.is_success() {
        if as_json {
            print_json(&json!({"ok": false, "model": model, "status": status.as_u16(), "answer": answer}))?;
        } else {
            let said = message(status, &answer);
            complain(&format!("{model}: {said}\n{}", advice(status, model, &said)));
        }
        return Ok(ExitCode::FAILURE);
    }
    let cost = of(server, &segment(&served)).await.ok().flatten().and_then(|costs| costs.into_iter().next());
    let money = cost.as_ref().and_then(|cost| money(&answer, cost.get("price")?));
    if as_json {
        print_json(&json!({
            "ok": true, "model": model, "served_by": served, "wall_ms": time, "usage": answer.get("usage"),
            "dollars": money, "call": header(&headers, "x-cofferdam-call"),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", told(model, &served, time, &answer, money.as_deref()))?;
    if let Some(tries) = header(&headers, "x-cofferdam-tries").filter(|tries| *tries != "1") {
        note!("It took {tries} tries; `cofferdam model test --upstream NAME` shows which upstream fails.");
    }
    Ok(ExitCode::SUCCESS)
}

/// The line about a call that was answered.
pub(super) fn told(model: &str, served: &str, time_ms: u128, answer: &Value, money: Option<&str>) -> String {
    let by = if served == model { String::new() } else { format!(" (served by {served})") };
    let tokens = |field: &str| answer.pointer(&format!("/usage/{field}")).and_then(Value::as_u64);
    let used = match (tokens("prompt_tokens"), tokens("completion_tokens")) {
        (Some(input), Some(output)) => format!(", {input} tokens in, {output} out"),
        _ => ", no usage told".to_owned(),
    };
    let cost = money.map(|money| format!(", ${money}")).unwrap_or_default();
    format!("{model}{by}: answered in {time_ms} ms{used}{cost}")
}

/// The cost of a call in dollars.
pub(super) fn money(answer: &Value, price: &Value) -> Option<String> {
    let tokens = |field: &str| answer.pointer(&format!("/usage/{field}")).and_then(Value::as_f64);
    let dollars = |field: &str| price.get(field)?.as_str()?.parse::<f64>().ok();
    let cached = tokens("prompt_tokens_details/cached_tokens").unwrap_or_default();
    let input = dollars("input")?;
    let plain = (tokens("prompt_tokens")? - cached).max(0.0);
    let sum = plain * input
        + cached * dollars("cached_input").unwrap_or(input)
        + tokens("completion_tokens")? * dollars("output")?;
    Some(dollars_of(sum / 1e6))
}

/// Dollars with as many decimals as they need, at most nine, rounded up as the server rounds what it charges.
fn dollars_of(dollars: f64) -> String {
    // What is left of sums of fractions is no billionth.
    let billionths = (dollars * 1e9 - 1e-3).ceil().max(0.0);
    // Not the zero that has a sign.
    let text = format!("{:.9}", billionths.abs() / 1e9);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The error's own words.
pub(super) fn message(status: StatusCode, answer: &Value) -> String {
    let said = answer.pointer("/error/message").or_else(|| answer.get("detail")).and_then(Value::as_str);
    said.map_or_else(|| format!("the server answered {status}"), str::to_owned)
}

/// The next step after a failure.
pub(super) fn advice(status: StatusCode, model: &str, said: &str) -> String {
    match status.as_u16() {
        401 => "Set COFFERDAM_API_KEY to a key of this server; a provider's key is not one.".to_owned(),
        403 if said.contains("/v1/model-prices") => {
            "`cofferdam model list` shows `?` for models without a price; `PUT /v1/model-prices/MODEL` sets one (needs the scope admin)."
                .to_owned()
        }
        403 => {
            "A rule or the key's scope forbids it: `GET /v1/model-rules` lists the rules; the key needs the scope run."
                .to_owned()
        }
        404 => "`cofferdam model list` shows the names that this key may use.".to_owned(),
        429 => "If a budget is used up, `GET /v1/budgets` shows when it is full again; otherwise the upstream is busy."
            .to_owned(),
        _ => {
            let upstream = model.split_once('/').map_or("NAME", |(upstream, _)| upstream);
            format!(
                "`cofferdam model test --upstream {upstream}` tests the upstream's address and key (needs the scope admin)."
            )
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
