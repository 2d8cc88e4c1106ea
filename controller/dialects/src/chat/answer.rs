//! A whole chat completion, read from an upstream and written for a caller.

use crate::answer::{Answer, Stop, Unreadable, Usage, id_for};
use crate::chat::content;
use crate::chat::write::{thinking_block, tool_call};
use crate::custom;
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::json::{self, Object};
use crate::request::{Body, Part, Request, Seal};

pub(crate) fn read(body: &[u8]) -> Result<Answer, Unreadable> {
    let mut fields = Fields::tolerant(body).ok_or(Unreadable::Malformed("it is no JSON object"))?;
    if fields.look("error").is_some() {
        return Err(Unreadable::Failed(Failure::of_fields(fields, Kind::Api)));
    }
    // Requests ask for one choice only.
    let choice = fields.items("choices").into_iter().find_map(Fields::of);
    let mut choice = choice.ok_or(Unreadable::Malformed("it has no choice"))?;
    let mut message = choice.child("message").ok_or(Unreadable::Malformed("it has no message"))?;
    let parts = parts(&mut message);
    let stop = choice.text("finish_reason").map_or(Stop::End, |word| Stop::of_chat(&word));
    let calls = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
    Ok(Answer {
        id: fields.text("id").unwrap_or_default().into_owned(),
        model: fields.text("model").unwrap_or_default().into_owned(),
        parts,
        // Servers end a turn of calls with `stop` now and then, and a forced call always.
        stop: if calls && stop == Stop::End { Stop::Tools } else { stop },
        stop_sequence: None,
        usage: fields.child("usage").map(usage),
        service_tier: fields.text("service_tier").map(Into::into),
    })
}

fn parts(message: &mut Fields<'_>) -> Vec<Part> {
    let mut parts = content::thinking(message).unwrap_or_default();
    said(message, |part| match part {
        Said::Text(text) => parts.push(Part::new("", Body::Text(text.into()))),
        Said::Thought(text) => parts.push(Part::new("", Body::Thinking { text: text.into(), seal: Seal::Open })),
    });
    if let Some(text) = message.text("refusal").filter(|text| !text.is_empty()) {
        parts.push(Part::new("", Body::Refusal(text.into_owned())));
    }
    for mut call in message.items("tool_calls").into_iter().filter_map(Fields::of) {
        let Some(mut function) = call.child("function") else { continue };
        let Some(name) = function.text("name") else { continue };
        let id: String = call.text("id").map_or_else(|| format!("call_{}", parts.len()), Into::into);
        if let Some(extra) = call.look("extra_content").filter(|raw| raw.get().starts_with('{')) {
            let seal = Seal::Extra { call: id.clone(), json: extra.get().to_owned() };
            parts.push(Part::new("", Body::Thinking { text: String::new(), seal }));
        }
        let body = Body::ToolCall { id, name: name.into_owned(), arguments: arguments(&mut function) };
        parts.push(Part::new("", body));
    }
    parts
}

/// A piece of `content`.
pub(crate) enum Said<'a> {
    Text(&'a str),
    Thought(&'a str),
}

/// Reads `content`: a text, or a list of texts and thoughts, as Mistral's servers send it.
pub(crate) fn said(message: &mut Fields<'_>, mut each: impl FnMut(Said<'_>)) {
    if let Some(text) = message.text("content") {
        if !text.is_empty() {
            each(Said::Text(&text));
        }
        return;
    }
    for mut part in message.items("content").into_iter().filter_map(Fields::of) {
        if let Some(text) = part.text("text").filter(|text| !text.is_empty()) {
            each(Said::Text(&text));
        }
        for mut thought in part.items("thinking").into_iter().filter_map(Fields::of) {
            if let Some(text) = thought.text("text").filter(|text| !text.is_empty()) {
                each(Said::Thought(&text));
            }
        }
    }
}

/// The arguments; some servers send an object in place of its text.
pub(crate) fn arguments(function: &mut Fields<'_>) -> String {
    match function.text("arguments") {
        Some(text) => text.into_owned(),
        None => function.look("arguments").map(|raw| raw.get().to_owned()).unwrap_or_default(),
    }
}

/// Reads usage. Some servers (Gemini's door, xAI) leave thinking out of `completion_tokens`, and count it in the total.
pub(crate) fn usage(mut fields: Fields<'_>) -> Usage {
    let input = fields.count("prompt_tokens").unwrap_or_default();
    let said = fields.count("completion_tokens").unwrap_or_default();
    let rest = fields.count("total_tokens").unwrap_or_default().saturating_sub(input);
    let mut prompt = fields.child("prompt_tokens_details");
    let mut detail = |key| prompt.as_mut().and_then(|details| details.count(key)).unwrap_or_default();
    let (cached, cache_write) = (detail("cached_tokens"), detail("cache_write_tokens"));
    let completion = fields.child("completion_tokens_details");
    let reasoning = completion.and_then(|mut details| details.count("reasoning_tokens")).unwrap_or_default();
    let unsaid = rest.saturating_sub(said);
    Usage { input, cached, cache_write, output: said.saturating_add(unsaid), reasoning: reasoning.max(unsaid) }
}

pub(crate) fn write_usage(o: &mut Object<'_>, usage: Usage) {
    o.number("prompt_tokens", usage.input);
    o.number("completion_tokens", usage.output);
    o.number("total_tokens", usage.input.saturating_add(usage.output));
    o.object("prompt_tokens_details", |o| {
        o.number("cached_tokens", usage.cached);
        o.number("cache_write_tokens", usage.cache_write);
    });
    o.object("completion_tokens_details", |o| o.number("reasoning_tokens", usage.reasoning));
}

pub(crate) fn write(answer: &Answer, request: &Request, created: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    json::object(&mut out, |o| {
        o.string("id", &id_for("chatcmpl-", &answer.id));
        o.string("object", "chat.completion");
        o.number("created", created);
        o.string("model", &answer.model);
        o.list("choices", |list| {
            list.object(|o| {
                o.number("index", 0);
                o.object("message", |o| message(o, &answer.parts, request));
                o.null("logprobs");
                o.string("finish_reason", answer.stop.chat());
            });
        });
        if let Some(tier) = &answer.service_tier {
            o.string("service_tier", tier);
        }
        if let Some(usage) = answer.usage {
            o.object("usage", |o| write_usage(o, usage));
        }
    });
    out
}

fn message(o: &mut Object<'_>, parts: &[Part], request: &Request) {
    o.string("role", "assistant");
    let joined = |text: fn(&Body) -> Option<&str>, between: &str| {
        let texts: Vec<&str> = parts.iter().filter_map(|part| text(&part.body)).collect();
        (!texts.is_empty()).then(|| texts.join(between))
    };
    let text = joined(|body| if let Body::Text(text) = body { Some(text) } else { None }, "");
    let refusal = joined(|body| if let Body::Refusal(text) = body { Some(text) } else { None }, "");
    let shown = |body: &Body| matches!(body, Body::Thinking { text, .. } if !text.is_empty());
    let thinking: Vec<&Part> = parts.iter().filter(|part| matches!(part.body, Body::Thinking { .. })).collect();
    o.optional("content", text.as_deref());
    o.optional("refusal", refusal.as_deref());
    if thinking.iter().any(|part| shown(&part.body)) {
        let text = joined(
            |body| match body {
                Body::Thinking { text, .. } if !text.is_empty() => Some(text),
                _ => None,
            },
            "\n\n",
        );
        o.string("reasoning_content", &text.unwrap_or_default());
    }
    if thinking.iter().any(|part| matches!(&part.body, Body::Thinking { seal, .. } if *seal != Seal::Open)) {
        o.list("thinking_blocks", |list| {
            for part in &thinking {
                if let Body::Thinking { text, seal } = &part.body {
                    list.object(|o| thinking_block(o, text, seal));
                }
            }
        });
    }
    let calls: Vec<&Part> = parts.iter().filter(|part| matches!(part.body, Body::ToolCall { .. })).collect();
    if !calls.is_empty() {
        o.list("tool_calls", |list| {
            for part in calls {
                list.object(|o| match &part.body {
                    Body::ToolCall { id, name, arguments } if request.is_custom(name) => {
                        custom_call(o, id, name, &custom::input(arguments));
                    }
                    _ => tool_call(o, part),
                });
            }
        });
    }
}

/// A call of a custom tool.
pub(crate) fn custom_call(o: &mut Object<'_>, id: &str, name: &str, input: &str) {
    o.string("id", id);
    o.string("type", "custom");
    o.object("custom", |o| {
        o.string("name", name);
        o.string("input", input);
    });
}
