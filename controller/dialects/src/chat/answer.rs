//! A whole chat completion, read from an upstream and written for a caller.

use crate::answer::{Answer, NAMELESS, Stop, Unreadable, Usage, id_for};
use crate::chars::Chars;
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
    let word = choice.text("finish_reason").unwrap_or_default();
    if let Some(failure) = failed(&word, &choice) {
        return Err(Unreadable::Failed(failure));
    }
    let stop = Stop::of_chat(&word);
    let parts = parts(&mut message, stop)?;
    let calls = parts.iter().any(is_call);
    Ok(Answer {
        id: fields.text("id").unwrap_or_default().into_owned(),
        model: fields.text("model").unwrap_or_default().into_owned(),
        parts,
        // Servers end a turn of calls with `stop` now and then, and a forced call always.
        stop: if calls && stop == Stop::End { Stop::Tools } else { stop },
        stop_sequence: None,
        usage: fields.child("usage").and_then(usage).or_else(|| choice.child("usage").and_then(usage)),
        service_tier: fields.text("service_tier").map(Into::into),
    })
}

fn parts(message: &mut Fields<'_>, stop: Stop) -> Result<Vec<Part>, Unreadable> {
    let mut parts = thoughts(message);
    said(message, |part| match part {
        Said::Text(text) => parts.push(Part::new("", Body::Text(text.whole().into()))),
        Said::Thought(text) => {
            parts.push(Part::new("", Body::Thinking { text: text.whole().into(), seal: Seal::Open }));
        }
    });
    if let Some(text) = message.text("refusal").filter(|text| !text.is_empty()) {
        parts.push(Part::new("", Body::Refusal(text.into_owned())));
    }
    for mut call in message.items("tool_calls").into_iter().filter_map(Fields::of) {
        let Some(mut function) = call.child("function") else { continue };
        let name = match function.text("name").filter(|name| !name.is_empty()) {
            Some(name) => name,
            // The limit may come before the name.
            None if stop.cuts() => continue,
            None => return Err(NAMELESS),
        };
        let id = call.text("id").filter(|id| !id.is_empty());
        let id: String = id.map_or_else(|| format!("call_{}", parts.len()), Into::into);
        if let Some(extra) = call.look("extra_content").filter(|raw| raw.get().starts_with('{')) {
            let seal = Seal::Extra { call: id.clone(), json: extra.get().to_owned() };
            parts.push(Part::new("", Body::Thinking { text: String::new(), seal }));
        }
        let body = Body::ToolCall { id, name: name.into_owned(), arguments: arguments(&mut function) };
        parts.push(Part::new("", body));
    }
    let old = message.child("function_call").filter(|_| !parts.iter().any(is_call));
    if let Some((name, mut function)) = old.and_then(|mut function| Some((function.text("name")?, function))) {
        let (id, arguments) = ("call_1".to_owned(), arguments(&mut function));
        parts.push(Part::new("", Body::ToolCall { id, name: name.into_owned(), arguments }));
    }
    Ok(parts)
}

fn is_call(part: &Part) -> bool {
    matches!(part.body, Body::ToolCall { .. })
}

/// Reads `thinking_blocks`, and `reasoning_content` or `reasoning` where there are none.
fn thoughts(message: &mut Fields<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    for mut block in message.items("thinking_blocks").into_iter().filter_map(Fields::of) {
        let body = match block.text("data").filter(|data| !data.is_empty()) {
            Some(data) => Body::Thinking { text: String::new(), seal: Seal::of_redacted(&data) },
            None => Body::Thinking {
                text: block.text("thinking").unwrap_or_default().into_owned(),
                seal: Seal::of_signature(&block.text("signature").unwrap_or_default()),
            },
        };
        parts.push(Part::new("", body));
    }
    let filled = |key| message.text(key).filter(|text| !text.is_empty());
    let text = ["reasoning_content", "reasoning"].into_iter().find_map(filled);
    if let (Some(text), true) = (text, parts.is_empty()) {
        parts.push(Part::new("", Body::Thinking { text: text.into_owned(), seal: Seal::Open }));
    }
    parts
}

/// Reads a reason to finish that is a failure: OpenRouter's, Zhipu's, DeepSeek's and vLLM's words.
pub(crate) fn failed(word: &str, choice: &Fields<'_>) -> Option<Failure> {
    let kind = match word {
        "error" | "network_error" | "abort" => Kind::Api,
        "insufficient_system_resource" => Kind::Overloaded,
        _ => return None,
    };
    let told = choice.look("error").and_then(Fields::of).map(|error| Failure::of_fields(error, kind));
    Some(told.unwrap_or(Failure { kind, message: None }))
}

/// A piece of `content`.
pub(crate) enum Said<'a> {
    Text(Chars<'a>),
    Thought(Chars<'a>),
}

/// Reads `content`: a text, or a list of texts and thoughts, as Mistral's servers send it.
pub(crate) fn said<'a>(message: &mut Fields<'a>, mut each: impl FnMut(Said<'a>)) {
    let filled = |text: &Chars<'_>| !text.is_empty();
    if let Some(text) = message.chars("content") {
        if filled(&text) {
            each(Said::Text(text));
        }
        return;
    }
    for mut part in message.items("content").into_iter().filter_map(Fields::of) {
        if let Some(text) = part.chars("text").filter(filled) {
            each(Said::Text(text));
        }
        for mut thought in part.items("thinking").into_iter().filter_map(Fields::of) {
            if let Some(text) = thought.chars("text").filter(filled) {
                each(Said::Thought(text));
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

/// Reads usage. Some servers (Gemini's door, xAI) leave thinking out of `completion_tokens`, and count it in the total. What
/// came from a cache has other names in DeepSeek's, Moonshot's and Anthropic's own.
pub(crate) fn usage(mut fields: Fields<'_>) -> Option<Usage> {
    let input = fields.count("prompt_tokens").unwrap_or_default();
    let said = fields.count("completion_tokens").unwrap_or_default();
    let rest = fields.count("total_tokens").unwrap_or_default().saturating_sub(input);
    let mut prompt = fields.child("prompt_tokens_details");
    let mut detail = |keys: [&str; 2], others: &[&str]| {
        let inner = keys.iter().find_map(|key| prompt.as_mut()?.count(key).filter(|count| *count > 0));
        let outer = || others.iter().find_map(|key| fields.count(key).filter(|count| *count > 0));
        inner.or_else(outer).unwrap_or_default().min(input)
    };
    let cached = detail(
        ["cached_tokens", "cache_read_tokens"],
        &["prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"],
    );
    let cache_write = detail(["cache_write_tokens", "cache_creation_tokens"], &["cache_creation_input_tokens"]);
    let completion = fields.child("completion_tokens_details");
    let reasoning = completion.and_then(|mut details| details.count("reasoning_tokens")).unwrap_or_default();
    let unsaid = rest.saturating_sub(said);
    let output = said.saturating_add(unsaid);
    let reasoning = reasoning.max(unsaid);
    Usage { input, cached, cache_write, cache_write_long: 0, output, reasoning }.said()
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
