//! A whole answer of messages, read from an upstream and written for a caller.

use crate::answer::{Answer, NAMELESS, Stop, Unreadable, Usage, id_for};
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
    let blocks = fields.items("content").into_iter().filter_map(Fields::of);
    let parts = blocks.filter_map(|fields| block(fields).transpose()).collect::<Result<_, _>>()?;
    Ok(Answer {
        id: fields.text("id").unwrap_or_default().into_owned(),
        model: fields.text("model").unwrap_or_default().into_owned(),
        parts,
        stop: fields.text("stop_reason").map_or(Stop::End, |word| Stop::of_messages(&word)),
        stop_sequence: fields.text("stop_sequence").map(Into::into),
        usage: fields.child("usage").and_then(usage),
        service_tier: None,
    })
}

/// A block of the answer. What the provider's own tools did is passed over: it is told in the text.
fn block(mut fields: Fields<'_>) -> Result<Option<Part>, Unreadable> {
    let Some(kind) = fields.text("type") else { return Ok(None) };
    let mut text = |key| fields.text(key).map(|text| text.into_owned());
    let body = match kind.as_ref() {
        "text" => text("text").map(Body::Text),
        "thinking" => Some(Body::Thinking {
            text: text("thinking").unwrap_or_default(),
            seal: Seal::of_signature(&text("signature").unwrap_or_default()),
        }),
        "redacted_thinking" => {
            text("data").map(|data| Body::Thinking { text: String::new(), seal: Seal::of_redacted(&data) })
        }
        "tool_use" => {
            let (id, name) = text("id").zip(text("name")).ok_or(NAMELESS)?;
            let arguments = fields.look("input").map_or("{}", |raw| raw.get()).to_owned();
            Some(Body::ToolCall { id, name, arguments })
        }
        _ => None,
    };
    Ok(body.map(|body| Part::new("", body)))
}

/// Reads usage. Here `input_tokens` are without those of the caches.
pub(crate) fn usage(mut fields: Fields<'_>) -> Option<Usage> {
    let cached = fields.count("cache_read_input_tokens").unwrap_or_default();
    let cache_write = fields.count("cache_creation_input_tokens").unwrap_or_default();
    let input = fields.count("input_tokens").unwrap_or_default();
    let details = fields.child("output_tokens_details");
    let long = fields.child("cache_creation").and_then(|mut times| times.count("ephemeral_1h_input_tokens"));
    Usage {
        input: input.saturating_add(cached).saturating_add(cache_write),
        cached,
        cache_write,
        cache_write_long: long.unwrap_or_default().min(cache_write),
        output: fields.count("output_tokens").unwrap_or_default(),
        reasoning: details.and_then(|mut details| details.count("thinking_tokens")).unwrap_or_default(),
    }
    .said()
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
        // The limit may have cut the last calls; a whole answer has no place for half an object.
        let whole = |part: &&Part| {
            !answer.stop.cuts() || !matches!(&part.body, Body::ToolCall { arguments, .. } if input(arguments).is_none())
        };
        o.list("content", |list| {
            answer.parts.iter().filter(whole).try_for_each(|part| list.object(|o| write_block(o, &part.body)))
        })?;
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
