//! Writes a responses request, stateless: `store` is false, and proofs of thinking are asked for. Refuses what this protocol
//! cannot say, with the path in the caller's body.

use serde_json::value::RawValue;

use crate::chat::write::{MAX_NAME, effort};
use crate::dialect::Dialect;
use crate::error::Refused;
use crate::json::{self, List, Object};
use crate::request::{Body, Format, Message, Part, Request, Role, Seal, Source, Target, Tool, ToolChoice};
use crate::responses::items;
use crate::rules;

pub(crate) fn request(request: &Request, target: &Target<'_>) -> Result<Vec<u8>, Refused> {
    refusals(request)?;
    if !target.extras {
        request.check_names(MAX_NAME)?;
    }
    let mut out = Vec::with_capacity(4_096);
    let (instructions, rest) = split_instructions(&request.messages);
    json::object(&mut out, |o| {
        o.string("model", target.model);
        if let Some(text) = instructions {
            o.string("instructions", &text);
        }
        o.list("input", |list| rest.iter().try_for_each(|message| write_message(list, message)))?;
        if let Some(max) = request.max_tokens {
            o.number("max_output_tokens", max);
        }
        if !request.tools.is_empty() {
            o.list("tools", |list| request.tools.iter().for_each(|tool| list.object(|o| write_tool(o, tool))));
        }
        if let Some(choice) = &request.tool_choice {
            write_choice(o, choice);
        }
        if let (Some(parallel), false) = (request.parallel_tool_calls, request.tools.is_empty()) {
            o.bool("parallel_tool_calls", parallel);
        }
        text(o, request);
        reasoning(o, request, target)?;
        if let Some(temperature) = &request.sampling.temperature {
            o.raw("temperature", temperature);
        }
        if let Some(top_p) = &request.sampling.top_p {
            o.raw("top_p", top_p);
        }
        rules::openai_labels(o, request);
        o.bool("store", false);
        if target.reasons {
            o.list("include", |list| list.string("reasoning.encrypted_content"));
        }
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
    let sampling = &request.sampling;
    let stop = if request.source == Dialect::Messages { "stop_sequences" } else { "stop" };
    for (present, field) in [
        (!request.stop.is_empty(), stop),
        (sampling.seed.is_some(), "seed"),
        (sampling.top_k.is_some(), "top_k"),
        (!zero(&sampling.presence_penalty), "presence_penalty"),
        (!zero(&sampling.frequency_penalty), "frequency_penalty"),
    ] {
        if present {
            return Err(Refused::new(field, "cannot be translated for this model"));
        }
    }
    Ok(())
}

/// The first message of the system, if it is text without marks, is the instructions.
fn split_instructions(messages: &[Message]) -> (Option<String>, &[Message]) {
    let Some((first, rest)) = messages.split_first() else { return (None, messages) };
    let texts: Option<Vec<&str>> = first
        .parts
        .iter()
        .map(|part| match (&part.body, &part.cache) {
            (Body::Text(_), Some(cache)) if cache.openai => None,
            (Body::Text(text), _) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    match texts {
        Some(texts) if first.role == Role::System => (Some(texts.join("\n\n")), rest),
        _ => (None, messages),
    }
}

fn write_message(list: &mut List<'_>, message: &Message) -> Result<(), Refused> {
    match message.role {
        Role::Assistant => assistant(list, message),
        role => {
            for part in &message.parts {
                if let Body::ToolResult { id, content, is_error } = &part.body {
                    list.object(|o| {
                        o.string("type", "function_call_output");
                        o.string("call_id", id);
                        result(o, content, *is_error)
                    })?;
                }
            }
            let is_result = |part: &&Part| matches!(part.body, Body::ToolResult { .. });
            let rest: Vec<&Part> = message.parts.iter().filter(|part| !is_result(part)).collect();
            if rest.is_empty() && !message.parts.is_empty() {
                return Ok(());
            }
            list.object(|o| {
                o.string("role", role.name());
                content(o, "content", message.plain, &rest)
            })
        }
    }
}

fn result(o: &mut Object<'_>, parts: &[Part], is_error: bool) -> Result<(), Refused> {
    match parts {
        [] => o.string("output", if is_error { "Error" } else { "" }),
        [Part { body: Body::Text(text), cache, .. }] if !cache.as_ref().is_some_and(|cache| cache.openai) => {
            o.string("output", &if is_error { rules::error_text(text) } else { text.as_str().into() });
        }
        parts => {
            return o.list("output", |list| {
                if is_error {
                    list.object(|o| text_part(o, "Error"));
                }
                parts.iter().try_for_each(|part| list.object(|o| write_part(o, part)))
            });
        }
    }
    Ok(())
}

fn content(o: &mut Object<'_>, key: &str, plain: bool, parts: &[&Part]) -> Result<(), Refused> {
    match parts {
        [] => o.string(key, ""),
        [Part { body: Body::Text(text), .. }] if plain => o.string(key, text),
        parts => return o.list(key, |list| parts.iter().try_for_each(|part| list.object(|o| write_part(o, part)))),
    }
    Ok(())
}

fn text_part(o: &mut Object<'_>, text: &str) {
    o.string("type", "input_text");
    o.string("text", text);
}

fn write_part(o: &mut Object<'_>, part: &Part) -> Result<(), Refused> {
    match &part.body {
        Body::Text(text) => text_part(o, text),
        Body::Image { source, detail } => {
            o.string("type", "input_image");
            o.string("image_url", &rules::url(source).ok_or_else(|| Refused::new(&part.at, "is no picture"))?);
            o.string("detail", detail.as_deref().unwrap_or("auto"));
        }
        Body::File { source: Source::Text(text), name, context } => {
            text_part(o, &rules::document_text(text, name.as_deref(), context.as_deref()));
        }
        Body::File { context: Some(_), .. } => {
            return Err(Refused::new(format!("{}.context", part.at), "cannot be translated for this model"));
        }
        Body::File { source, name, .. } => {
            o.string("type", "input_file");
            match source {
                Source::Url(url) => o.string("file_url", url),
                source => {
                    o.string("filename", name.as_deref().unwrap_or(rules::FILE_NAME));
                    o.string("file_data", &rules::url(source).unwrap_or_default());
                }
            }
        }
        _ => return part.refuse("cannot stand in a message of this role"),
    }
    rules::breakpoint(o, part.cache.as_ref());
    Ok(())
}

fn assistant(list: &mut List<'_>, message: &Message) -> Result<(), Refused> {
    let spoken = |part: &Part| matches!(part.body, Body::Text(_) | Body::Refusal(_));
    let at: String = message.at.chars().filter(char::is_ascii_digit).collect();
    for (number, group) in message.parts.chunk_by(|one, next| spoken(one) && spoken(next)).enumerate() {
        match group {
            [Part { body: Body::Thinking { text, seal }, .. }] => {
                // Only this kind of upstream's own thinking; that of others it could not check.
                if let Seal::Item { id, .. } = seal {
                    list.object(|o| items::reasoning(o, id, text, seal));
                }
            }
            [Part { body: Body::ToolCall { id, name, arguments }, .. }] => list.object(|o| {
                o.string("type", "function_call");
                o.string("call_id", id);
                o.string("name", name);
                o.string("arguments", if arguments.is_empty() { "{}" } else { arguments });
            }),
            [Part { body: Body::Text(text), .. }] => list.object(|o| {
                o.string("role", "assistant");
                o.string("content", text);
            }),
            // Several parts are only taken as an item, which has an id.
            group if group.iter().all(spoken) => list.object(|o| {
                items::message(o, &format!("msg_{at}_{number}"), "completed", |list| {
                    group.iter().for_each(|part| list.object(|o| items::content_part(o, &part.body)));
                });
            }),
            group => {
                let at = group.first().map_or(message.at.as_str(), |part| part.at.as_str());
                return Err(Refused::new(at, "cannot stand in an answer"));
            }
        }
    }
    Ok(())
}

pub(crate) fn write_tool(o: &mut Object<'_>, tool: &Tool) {
    o.string("type", "function");
    o.string("name", &tool.name);
    o.optional("description", tool.description.as_deref());
    match &tool.parameters {
        Some(parameters) => o.raw("parameters", parameters),
        None => o.literal("parameters", r#"{"type":"object","properties":{}}"#),
    }
    // Here, and only here, a tool is strict unless it says otherwise.
    o.bool("strict", tool.strict.unwrap_or_default());
}

pub(crate) fn write_choice(o: &mut Object<'_>, choice: &ToolChoice) {
    match choice {
        ToolChoice::Auto => o.string("tool_choice", "auto"),
        ToolChoice::None => o.string("tool_choice", "none"),
        ToolChoice::Required => o.string("tool_choice", "required"),
        ToolChoice::Named(name) => o.object("tool_choice", |o| {
            o.string("type", "function");
            o.string("name", name);
        }),
    }
}

pub(crate) fn text(o: &mut Object<'_>, request: &Request) {
    let format = request.format.as_ref().filter(|format| !matches!(format, Format::Text));
    if format.is_none() && request.verbosity.is_none() {
        return;
    }
    o.object("text", |o| {
        write_format(o, format, false);
        if let Some(verbosity) = &request.verbosity {
            o.string("verbosity", verbosity);
        }
    });
}

pub(crate) fn write_format(o: &mut Object<'_>, format: Option<&Format>, echoed: bool) {
    o.object("format", |o| match format {
        Some(Format::JsonObject) => o.string("type", "json_object"),
        Some(Format::Schema { name, description, schema, strict }) => {
            o.string("type", "json_schema");
            o.string("name", name.as_deref().unwrap_or(rules::SCHEMA_NAME));
            match description {
                Some(description) => o.string("description", description),
                // The response object has the field always, a request only with a text.
                None if echoed => o.null("description"),
                None => {}
            }
            o.raw("schema", schema);
            o.bool("strict", strict.unwrap_or_default());
        }
        Some(Format::Text) | None => o.string("type", "text"),
    });
}

fn reasoning(o: &mut Object<'_>, request: &Request, target: &Target<'_>) -> Result<(), Refused> {
    let effort = effort(&request.reasoning, target)?;
    let summary = request.reasoning.summary.as_deref().filter(|word| *word != "omitted");
    if effort.is_some() || summary.is_some() {
        o.object("reasoning", |o| {
            if let Some(effort) = effort {
                o.string("effort", effort);
            }
            if let Some(summary) = summary {
                o.string("summary", summary);
            }
        });
    }
    Ok(())
}
