//! The response object: what an answer repeats of its request, and what differs from one event to the next.

use crate::answer::Usage;
use crate::dialect::Dialect;
use crate::error::{Kind, openai};
use crate::json::{self, Object};
use crate::request::{Body, Request, Role, ToolChoice};
use crate::responses::write::{write_choice, write_format, write_tool};

/// The fields that a response repeats of its request, written once. Empty for requests of the other dialects, whose callers
/// are not told.
#[derive(Clone, Debug)]
pub(crate) struct Echo(String);

/// Parts that differ between the response objects of one answer.
pub(crate) struct State<'a> {
    pub(crate) id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) created: u64,
    pub(crate) status: &'a str,
    pub(crate) incomplete: Option<&'a str>,
    pub(crate) error: Option<(Kind, &'a str)>,
    /// The items of the output, as JSON with commas.
    pub(crate) output: &'a str,
    pub(crate) usage: Option<Usage>,
}

impl Echo {
    pub(crate) fn new(request: &Request) -> Self {
        let mut out = Vec::with_capacity(512);
        json::object(&mut out, |o| fields(o, request));
        // A schema may be written over several lines, which an event may not be. Outside texts a line feed is only space,
        // and inside texts JSON has none.
        let text = String::from_utf8(out).unwrap_or_default().replace(['\n', '\r'], " ");
        Self(text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned())
    }

    pub(crate) fn write(&self, o: &mut Object<'_>, state: &State<'_>) {
        o.string("id", state.id);
        o.string("object", "response");
        o.number("created_at", state.created);
        match state.status {
            "completed" => o.number("completed_at", state.created),
            _ => o.null("completed_at"),
        }
        o.string("status", state.status);
        match state.error {
            Some((kind, message)) => o.object("error", |o| {
                o.string("code", kind.code().unwrap_or("invalid_prompt"));
                o.string("message", message);
            }),
            None => o.null("error"),
        }
        match state.incomplete {
            Some(reason) => o.object("incomplete_details", |o| o.string("reason", reason)),
            None => o.null("incomplete_details"),
        }
        o.string("model", state.model);
        o.list("output", |list| {
            if !state.output.is_empty() {
                list.literal(state.output);
            }
        });
        o.fields(&self.0);
        match state.usage {
            Some(usage) => o.object("usage", |o| write_usage(o, usage)),
            None => o.null("usage"),
        }
    }
}

fn fields(o: &mut Object<'_>, request: &Request) {
    let instructions = request.messages.first().filter(|message| message.at == "instructions");
    let text = instructions.and_then(|message| message.parts.first()).and_then(|part| match &part.body {
        Body::Text(text) => Some(text.as_str()),
        _ => None,
    });
    debug_assert!(instructions.is_none_or(|message| message.role == Role::System));
    o.optional("instructions", text);
    o.null("previous_response_id");
    o.list("tools", |list| {
        for tool in &request.tools {
            match request.custom.iter().find(|custom| custom.name == tool.name) {
                Some(custom) if request.source == Dialect::Responses => list.literal(custom.written.get()),
                _ => list.object(|o| write_tool(o, tool)),
            }
        }
    });
    match &request.tool_choice {
        Some(ToolChoice::Named(name)) if request.is_custom(name) => o.object("tool_choice", |o| {
            o.string("type", "custom");
            o.string("name", name);
        }),
        Some(choice) => write_choice(o, choice),
        None => o.string("tool_choice", "auto"),
    }
    o.bool("parallel_tool_calls", request.parallel_tool_calls.unwrap_or(true));
    o.object("text", |o| {
        write_format(o, request.format.as_ref(), true);
        o.string("verbosity", request.verbosity.as_deref().unwrap_or("medium"));
    });
    o.object("reasoning", |o| {
        o.optional("effort", request.reasoning.effort.as_deref());
        o.optional("summary", request.reasoning.summary.as_deref());
    });
    let sampling = &request.sampling;
    for (key, value, default) in [
        ("temperature", &sampling.temperature, "1.0"),
        ("top_p", &sampling.top_p, "1.0"),
        ("presence_penalty", &sampling.presence_penalty, "0.0"),
        ("frequency_penalty", &sampling.frequency_penalty, "0.0"),
    ] {
        o.literal(key, value.as_ref().map_or(default, |value| value.get()));
    }
    o.number("top_logprobs", 0);
    match request.max_tokens {
        Some(max) => o.number("max_output_tokens", max),
        None => o.null("max_output_tokens"),
    }
    o.null("max_tool_calls");
    o.string("truncation", "disabled");
    o.bool("store", false);
    o.bool("background", false);
    o.string("service_tier", request.service_tier.as_deref().unwrap_or("default"));
    o.literal("metadata", request.metadata.as_ref().map_or("{}", |metadata| metadata.get()));
    for (key, value) in [
        ("user", &request.user),
        ("safety_identifier", &request.safety_identifier),
        ("prompt_cache_key", &request.prompt_cache_key),
    ] {
        o.optional(key, value.as_deref());
    }
}

pub(crate) fn write_usage(o: &mut Object<'_>, usage: Usage) {
    o.number("input_tokens", usage.input);
    o.object("input_tokens_details", |o| {
        o.number("cached_tokens", usage.cached);
        o.number("cache_write_tokens", usage.cache_write);
    });
    o.number("output_tokens", usage.output);
    o.object("output_tokens_details", |o| o.number("reasoning_tokens", usage.reasoning));
    o.number("total_tokens", usage.input.saturating_add(usage.output));
}

/// The data of an `error` event: flat, as the reference says, and nested, as the client libraries look for it.
pub(crate) fn error_event(out: &mut Vec<u8>, kind: Kind, message: &str, sequence: u64) {
    json::object(out, |o| {
        o.string("type", "error");
        o.optional("code", kind.code());
        o.string("message", message);
        o.null("param");
        o.object("error", |o| {
            debug_assert_eq!(kind.type_name(Dialect::Responses), kind.type_name(Dialect::Chat));
            openai(o, kind, message, None);
        });
        o.number("sequence_number", sequence);
    });
}
