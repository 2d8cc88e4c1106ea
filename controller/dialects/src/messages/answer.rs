//! A whole answer of messages, read from an upstream and written for a caller.

use crate::answer::{Answer, Stop, Unreadable, Usage, id_for};
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::json::{self, Object};
use crate::messages::write::{input, write_thinking, write_tool_use};
use crate::request::{Body, Part, Seal};

pub(crate) fn read(body: &[u8]) -> Result<Answer, Unreadable> {
    let mut fields = Fields::tolerant(body).ok_or(Unreadable::Malformed("it is no JSON object"))?;
    if fields.text("type").as_deref() == Some("error") {
        return Err(Unreadable::Failed(Failure::of_fields(fields, Kind::Api)));
    }
    if fields.look("content").is_none() {
        return Err(Unreadable::Malformed("it has no content"));
    }
    let parts = fields.items("content").into_iter().filter_map(Fields::of).filter_map(block).collect();
    Ok(Answer {
        id: fields.text("id").unwrap_or_default().into_owned(),
        model: fields.text("model").unwrap_or_default().into_owned(),
        parts,
        stop: fields.text("stop_reason").map_or(Stop::End, |word| Stop::of_messages(&word)),
        stop_sequence: fields.text("stop_sequence").map(Into::into),
        usage: fields.child("usage").map(usage),
        service_tier: None,
    })
}

/// A block of the answer. What the provider's own tools did is passed over: it is told in the text.
fn block(mut fields: Fields<'_>) -> Option<Part> {
    let body = match fields.text("type")?.as_ref() {
        "text" => Body::Text(fields.text("text")?.into_owned()),
        "thinking" => Body::Thinking {
            text: fields.text("thinking").unwrap_or_default().into_owned(),
            seal: Seal::of_signature(&fields.text("signature").unwrap_or_default()),
        },
        "redacted_thinking" => Body::Thinking { text: String::new(), seal: Seal::of_redacted(&fields.text("data")?) },
        "tool_use" => Body::ToolCall {
            id: fields.text("id")?.into_owned(),
            name: fields.text("name")?.into_owned(),
            arguments: fields.look("input").map_or("{}", |raw| raw.get()).to_owned(),
        },
        _ => return None,
    };
    Some(Part::new("", body))
}

/// Reads usage. Here `input_tokens` are without those of the caches.
pub(crate) fn usage(mut fields: Fields<'_>) -> Usage {
    let cached = fields.count("cache_read_input_tokens").unwrap_or_default();
    let cache_write = fields.count("cache_creation_input_tokens").unwrap_or_default();
    let input = fields.count("input_tokens").unwrap_or_default();
    let details = fields.child("output_tokens_details");
    Usage {
        input: input.saturating_add(cached).saturating_add(cache_write),
        cached,
        cache_write,
        output: fields.count("output_tokens").unwrap_or_default(),
        reasoning: details.and_then(|mut details| details.count("thinking_tokens")).unwrap_or_default(),
    }
}

pub(crate) fn write_usage(o: &mut Object<'_>, usage: Usage) {
    o.number("input_tokens", usage.input.saturating_sub(usage.cached).saturating_sub(usage.cache_write));
    o.number("cache_creation_input_tokens", usage.cache_write);
    o.number("cache_read_input_tokens", usage.cached);
    o.number("output_tokens", usage.output);
    if usage.reasoning > 0 {
        o.object("output_tokens_details", |o| o.number("thinking_tokens", usage.reasoning));
    }
}

pub(crate) fn write(answer: &Answer) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::with_capacity(1_024);
    json::object(&mut out, |o| {
        o.string("id", &id_for("msg_", &answer.id));
        o.string("type", "message");
        o.string("role", "assistant");
        o.string("model", &answer.model);
        o.list("content", |list| answer.parts.iter().try_for_each(|part| list.object(|o| write_block(o, &part.body))))?;
        let refused = answer.parts.iter().any(|part| matches!(part.body, Body::Refusal(_)));
        let stop = if refused { Stop::Refusal } else { answer.stop };
        o.string("stop_reason", stop.messages());
        o.optional("stop_sequence", answer.stop_sequence.as_deref());
        o.object("usage", |o| write_usage(o, answer.usage.unwrap_or_default()));
        Ok(())
    })?;
    Ok(out)
}

fn write_block(o: &mut Object<'_>, body: &Body) -> Result<(), Unreadable> {
    match body {
        Body::Text(text) | Body::Refusal(text) => {
            o.string("type", "text");
            o.string("text", text);
        }
        Body::Thinking { text, seal } => write_thinking(o, text, seal),
        Body::ToolCall { id, name, arguments } => {
            let input = input(arguments).ok_or_else(|| Unreadable::Arguments(name.clone()))?;
            write_tool_use(o, id, name, input);
        }
        // An answer holds no other parts; none of the readers makes them.
        Body::Image { .. } | Body::File { .. } | Body::ToolResult { .. } => {}
    }
    Ok(())
}
