//! Writes a messages request. Refuses what this protocol cannot say, with the path in the caller's body.

use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::error::Refused;
use crate::json::{self, List, Object};
use crate::messages::thinking;
use crate::request::{Body, Cache, Format, Message, Part, Request, Role, Seal, Source, Target, Tool, ToolChoice};
use crate::rules;

/// Longest name of a tool that the provider takes.
const MAX_NAME: usize = 128;

pub(crate) fn request(request: &Request, target: &Target<'_>) -> Result<Vec<u8>, Refused> {
    refusals(request)?;
    request.check_names(MAX_NAME)?;
    let mut out = Vec::with_capacity(4_096);
    let max_tokens = request.max_tokens.unwrap_or(target.max_tokens);
    // Where the system's messages are over and the conversation begins.
    let is_system = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
    let leading = request.messages.iter().take_while(is_system).count();
    let (system, turns) = request.messages.split_at_checked(leading).unwrap_or_default();
    json::object(&mut out, |o| {
        o.string("model", target.model);
        o.number("max_tokens", max_tokens);
        write_system(o, system)?;
        o.list("messages", |list| write_turns(list, turns, target))?;
        if !request.tools.is_empty() {
            o.list("tools", |list| request.tools.iter().for_each(|tool| list.object(|o| write_tool(o, tool))));
        }
        choice(o, request);
        sampling(o, request)?;
        if !request.stop.is_empty() {
            o.list("stop_sequences", |list| request.stop.iter().for_each(|stop| list.string(stop)));
        }
        thinking::write(o, request, target, max_tokens)?;
        if let Some(tier) = rules::messages_tier(request)? {
            o.string("service_tier", tier);
        }
        if let Some(user) = request.safety_identifier.as_ref().or(request.user.as_ref()) {
            o.object("metadata", |o| o.string("user_id", user));
        }
        cache(o, request.cache.as_ref());
        if request.stream {
            o.bool("stream", true);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Refuses what this protocol has no word for.
fn refusals(request: &Request) -> Result<(), Refused> {
    let zero = |value: &Option<Box<RawValue>>| value.as_ref().is_none_or(|value| rules::is_zero(value));
    let refuse = |field: &str, why: &str| Err(Refused::new(field, why));
    let sampling = &request.sampling;
    if sampling.seed.is_some() {
        return refuse("seed", "cannot be translated for this model");
    }
    if !zero(&sampling.presence_penalty) {
        return refuse("presence_penalty", "may only be 0 for this model");
    }
    if !zero(&sampling.frequency_penalty) {
        return refuse("frequency_penalty", "may only be 0 for this model");
    }
    if request.verbosity.as_deref().is_some_and(|word| word != "medium") {
        let field = if request.source == Dialect::Responses { "text.verbosity" } else { "verbosity" };
        return refuse(field, "may only be medium for this model");
    }
    if matches!(request.format, Some(Format::JsonObject)) {
        let field = if request.source == Dialect::Responses { "text.format" } else { "response_format" };
        return refuse(field, "needs a JSON schema for this model");
    }
    Ok(())
}

fn sampling(o: &mut Object<'_>, request: &Request) -> Result<(), Refused> {
    let sampling = &request.sampling;
    if let Some(temperature) = &sampling.temperature {
        if serde_json::from_str::<f64>(temperature.get()).is_ok_and(|value| value > 1.0) {
            return Err(Refused::new("temperature", "may be at most 1 for this model"));
        }
        o.raw("temperature", temperature);
    }
    if let Some(top_p) = &sampling.top_p {
        o.raw("top_p", top_p);
    }
    if let Some(top_k) = sampling.top_k {
        o.number("top_k", top_k);
    }
    Ok(())
}

fn write_system(o: &mut Object<'_>, system: &[Message]) -> Result<(), Refused> {
    let parts = kept(system.iter().flat_map(|message| &message.parts));
    match (system, parts.as_slice()) {
        (_, []) => {}
        ([message], [(Part { body: Body::Text(text), .. }, None)]) if message.plain => o.string("system", text),
        (_, parts) => o.list("system", |list| write_parts(list, parts))?,
    }
    Ok(())
}

fn write_parts(list: &mut List<'_>, parts: &[(&Part, Option<&Cache>)]) -> Result<(), Refused> {
    parts.iter().try_for_each(|(part, cache)| list.object(|o| write_part(o, part, *cache)))
}

/// The parts that go out, with their marks for the cache. The provider refuses texts of white space, which say nothing; a mark
/// on one belongs to what is before it.
fn kept<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<(&'a Part, Option<&'a Cache>)> {
    let mut kept: Vec<(&Part, Option<&Cache>)> = Vec::new();
    for part in parts.filter(|part| !left_out(part)) {
        match (&part.body, kept.last_mut()) {
            (Body::Text(text) | Body::Refusal(text), last) if text.trim().is_empty() => {
                if let (Some((before, mark)), Some(cache)) = (last, &part.cache)
                    && !matches!(before.body, Body::Thinking { .. })
                {
                    mark.get_or_insert(cache);
                }
            }
            _ => kept.push((part, part.cache.as_ref())),
        }
    }
    kept
}

/// Turns of the same role that follow each other become one, so that all results of a turn's tools stand together.
fn write_turns(list: &mut List<'_>, turns: &[Message], target: &Target<'_>) -> Result<(), Refused> {
    let role = |message: &Message| match message.role {
        Role::Developer => Role::System,
        role => role,
    };
    for group in turns.chunk_by(|one, next| role(one) == role(next) && joins(one, next)) {
        let Some(first) = group.first() else { continue };
        if role(first) == Role::System && !target.system_turns {
            return Err(Refused::new(
                &first.at,
                "a system message after the first turn cannot be translated for this model",
            ));
        }
        // Results have to come first in their turn.
        let is_result = |part: &&Part| matches!(part.body, Body::ToolResult { .. });
        let parts = || group.iter().flat_map(|message| &message.parts);
        let parts = kept(parts().filter(is_result).chain(parts().filter(|part| !is_result(part))));
        if parts.is_empty() {
            if role(first) == Role::User {
                return Err(Refused::new(&first.at, "is empty, which cannot be translated for this model"));
            }
            continue;
        }
        list.object(|o| {
            o.string("role", role(first).name());
            match (group, parts.as_slice()) {
                ([message], [(Part { body: Body::Text(text), .. }, None)]) if message.plain => {
                    o.string("content", text);
                    Ok(())
                }
                (_, parts) => o.list("content", |list| write_parts(list, parts)),
            }
        })?;
    }
    Ok(())
}

/// Results of tools take what the user says next into their turn; so do the pieces of one answer.
fn joins(one: &Message, next: &Message) -> bool {
    one.role != Role::User || one.holds_results() || next.holds_results()
}

/// Thinking of another kind of upstream, which only that one can check.
pub(super) fn left_out(part: &Part) -> bool {
    matches!(&part.body, Body::Thinking { seal, .. } if !seal.is_anthropic())
}

fn cache(o: &mut Object<'_>, cache: Option<&Cache>) {
    if let Some(cache) = cache {
        o.object("cache_control", |o| {
            o.string("type", "ephemeral");
            if let Some(ttl) = cache.messages_ttl() {
                o.string("ttl", ttl);
            }
        });
    }
}

fn write_part(o: &mut Object<'_>, part: &Part, mark: Option<&Cache>) -> Result<(), Refused> {
    match &part.body {
        Body::Text(text) | Body::Refusal(text) => {
            o.string("type", "text");
            o.string("text", text);
        }
        // How finely a picture is looked at is not for the caller to say here.
        Body::Image { source, detail: _ } => {
            o.string("type", "image");
            write_source(o, source);
        }
        Body::File { source, name, context } => {
            if let Source::Base64 { media, .. } = source
                && media != "application/pdf"
            {
                return part.refuse("only PDF and plain text files can be translated for this model");
            }
            o.string("type", "document");
            write_source(o, source);
            if let Some(name) = name {
                o.string("title", name);
            }
            if let Some(context) = context {
                o.string("context", context);
            }
        }
        Body::ToolCall { id, name, arguments } => {
            let input = input(arguments).ok_or_else(|| Refused::new(&part.at, "its arguments are no JSON object"))?;
            write_tool_use(o, id, name, input);
        }
        Body::ToolResult { id, content, is_error } => {
            o.string("type", "tool_result");
            o.string("tool_use_id", &rules::messages_call_id(id));
            match kept(content.iter()).as_slice() {
                [] => {}
                [(Part { body: Body::Text(text), .. }, None)] => o.string("content", text),
                parts => o.list("content", |list| write_parts(list, parts))?,
            }
            if *is_error {
                o.bool("is_error", true);
            }
        }
        Body::Thinking { text, seal } => write_thinking(o, text, seal),
    }
    cache(o, mark);
    Ok(())
}

pub(crate) fn write_thinking(o: &mut Object<'_>, text: &str, seal: &Seal) {
    if let Some(data) = seal.redacted() {
        o.string("type", "redacted_thinking");
        o.string("data", &data);
        return;
    }
    o.string("type", "thinking");
    o.string("thinking", text);
    o.string("signature", &seal.signature());
}

pub(crate) fn write_tool_use(o: &mut Object<'_>, id: &str, name: &str, input: &str) {
    o.string("type", "tool_use");
    o.string("id", &rules::messages_call_id(id));
    o.string("name", name);
    o.literal("input", input);
}

/// The arguments as the object that they have to be. No arguments are an empty one.
pub(crate) fn input(arguments: &str) -> Option<&str> {
    let arguments = arguments.trim_ascii();
    if arguments.is_empty() {
        return Some("{}");
    }
    let is_object = arguments.starts_with('{') && serde_json::from_str::<&RawValue>(arguments).is_ok();
    is_object.then_some(arguments)
}

fn write_source(o: &mut Object<'_>, source: &Source) {
    o.object("source", |o| match source {
        Source::Base64 { media, data } => {
            o.string("type", "base64");
            o.string("media_type", rules::media(media));
            o.string("data", data);
        }
        Source::Url(url) => {
            o.string("type", "url");
            o.string("url", url);
        }
        Source::Text(text) => {
            o.string("type", "text");
            o.string("media_type", "text/plain");
            o.string("data", text);
        }
    });
}

fn write_tool(o: &mut Object<'_>, tool: &Tool) {
    o.string("name", &tool.name);
    if let Some(description) = &tool.description {
        o.string("description", description);
    }
    match &tool.parameters {
        Some(parameters) => o.raw("input_schema", parameters),
        None => o.literal("input_schema", r#"{"type":"object","properties":{}}"#),
    }
    if let Some(strict) = tool.strict {
        o.bool("strict", strict);
    }
    cache(o, tool.cache.as_ref());
}

fn choice(o: &mut Object<'_>, request: &Request) {
    if request.tools.is_empty() {
        return;
    }
    let parallel = request.parallel_tool_calls;
    let choice = match (&request.tool_choice, parallel) {
        (None, None) => return,
        (None, Some(_)) => &ToolChoice::Auto,
        (Some(choice), _) => choice,
    };
    o.object("tool_choice", |o| {
        match choice {
            ToolChoice::Auto => o.string("type", "auto"),
            ToolChoice::Required => o.string("type", "any"),
            ToolChoice::None => o.string("type", "none"),
            ToolChoice::Named(name) => {
                o.string("type", "tool");
                o.string("name", name);
            }
        }
        if let (Some(parallel), true) = (parallel, *choice != ToolChoice::None) {
            o.bool("disable_parallel_tool_use", !parallel);
        }
    });
}
