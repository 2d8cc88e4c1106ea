//! A whole response, read from an upstream and written for a caller.

use crate::answer::{Answer, NAMELESS, Stop, Unreadable, Usage, id_for};
use crate::custom;
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::json;
use crate::request::{Body, Part, Request, Seal};
use crate::responses::echo::{Echo, State};
use crate::responses::items;

pub(crate) fn read(body: &[u8]) -> Result<Answer, Unreadable> {
    let mut fields = Fields::tolerant(body).ok_or(Unreadable::Malformed("it is no JSON object"))?;
    if fields.look("error").is_some() {
        return Err(Unreadable::Failed(Failure::of_fields(fields, Kind::Api)));
    }
    if matches!(fields.text("status").as_deref(), Some("failed" | "cancelled")) {
        return Err(Unreadable::Failed(Failure { kind: Kind::Api, message: None }));
    }
    if fields.look("output").is_none() {
        return Err(Unreadable::Malformed("it has no output"));
    }
    let mut parts = Vec::new();
    for item in fields.items("output").into_iter().filter_map(Fields::of) {
        output_item(item, &mut parts)?;
    }
    let calls = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
    Ok(Answer {
        id: fields.text("id").unwrap_or_default().into_owned(),
        model: fields.text("model").unwrap_or_default().into_owned(),
        parts,
        stop: stop(&mut fields, calls),
        stop_sequence: None,
        usage: fields.child("usage").and_then(usage),
        service_tier: fields.text("service_tier").map(Into::into),
    })
}

/// Reads why a response ended: its status, and the reason of an incomplete one.
pub(crate) fn stop(response: &mut Fields<'_>, calls: bool) -> Stop {
    if response.text("status").as_deref() == Some("incomplete") {
        let reason = response.child("incomplete_details").and_then(|mut details| details.text("reason"));
        return reason.map_or(Stop::MaxTokens, |reason| Stop::of_incomplete(&reason));
    }
    if calls { Stop::Tools } else { Stop::End }
}

/// An item of the output. What the provider's own tools did is passed over: it is told in the text.
fn output_item(mut item: Fields<'_>, parts: &mut Vec<Part>) -> Result<(), Unreadable> {
    let Some(kind) = item.text("type") else { return Ok(()) };
    match kind.as_ref() {
        "message" => {
            for mut part in item.items("content").into_iter().filter_map(Fields::of) {
                let body = match part.text("type").as_deref() {
                    Some("output_text") => part.text("text").map(|text| Body::Text(text.into_owned())),
                    Some("refusal") => part.text("refusal").map(|text| Body::Refusal(text.into_owned())),
                    _ => None,
                };
                parts.extend(body.map(|body| Part::new("", body)));
            }
        }
        "function_call" => {
            let (id, name) = item.text("call_id").zip(item.text("name")).ok_or(NAMELESS)?;
            let arguments = item.text("arguments").unwrap_or_default().into_owned();
            parts.push(Part::new("", Body::ToolCall { id: id.into_owned(), name: name.into_owned(), arguments }));
        }
        "reasoning" => {
            let texts = item.items("summary").into_iter().chain(item.items("content"));
            let texts: Vec<String> =
                texts.filter_map(Fields::of).filter_map(|mut part| part.text("text").map(Into::into)).collect();
            let seal = Seal::of_item(&item.text("id").unwrap_or_default(), item.text("encrypted_content").as_deref());
            if !texts.is_empty() || seal != Seal::Open {
                parts.push(Part::new("", Body::Thinking { text: texts.join("\n\n"), seal }));
            }
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn usage(mut fields: Fields<'_>) -> Option<Usage> {
    let mut input = fields.child("input_tokens_details");
    let mut detail = |key| input.as_mut().and_then(|details| details.count(key)).unwrap_or_default();
    let (cached, cache_write) = (detail("cached_tokens"), detail("cache_write_tokens"));
    let output = fields.child("output_tokens_details");
    Usage {
        input: fields.count("input_tokens").unwrap_or_default(),
        cached,
        cache_write,
        cache_write_long: 0,
        output: fields.count("output_tokens").unwrap_or_default(),
        reasoning: output.and_then(|mut details| details.count("reasoning_tokens")).unwrap_or_default(),
    }
    .said()
}

pub(crate) fn write(answer: &Answer, request: &Request, created: u64) -> Vec<u8> {
    let id = id_for("resp_", &answer.id);
    let tail = id.strip_prefix("resp_").unwrap_or_default();
    let status = if answer.stop.incomplete().is_some() { "incomplete" } else { "completed" };
    let mut output = Vec::new();
    let spoken = |part: &Part| matches!(part.body, Body::Text(_) | Body::Refusal(_));
    for (index, group) in answer.parts.chunk_by(|one, next| spoken(one) && spoken(next)).enumerate() {
        if index > 0 {
            output.push(b',');
        }
        json::object(&mut output, |o| match group {
            [Part { body: Body::Thinking { text, seal }, .. }] => {
                items::reasoning(o, &format!("rs_{tail}_{index}"), text, seal);
            }
            [Part { body: Body::ToolCall { id, name, arguments }, .. }] if request.is_custom(name) => {
                items::custom_call(o, &format!("ctc_{tail}_{index}"), status, id, name, &custom::input(arguments));
            }
            [Part { body: Body::ToolCall { id, name, arguments }, .. }] => {
                let arguments = if arguments.is_empty() { "{}" } else { arguments };
                items::function_call(o, &format!("fc_{tail}_{index}"), status, id, name, arguments);
            }
            group => items::message(o, &format!("msg_{tail}_{index}"), status, |list| {
                group.iter().for_each(|part| list.object(|o| items::content_part(o, &part.body)));
            }),
        });
    }
    let state = State {
        id: &id,
        model: &answer.model,
        created,
        status,
        incomplete: answer.stop.incomplete(),
        error: None,
        output: std::str::from_utf8(&output).unwrap_or_default(),
        usage: Some(answer.usage.unwrap_or_default()),
    };
    let mut out = Vec::with_capacity(2_048);
    json::object(&mut out, |o| Echo::new(request).write(o, &state));
    out
}
