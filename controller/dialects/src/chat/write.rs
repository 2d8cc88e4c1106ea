//! Writes a chat completions request. Refuses what this protocol cannot say, with the path in the caller's body.

use crate::error::Refused;
use crate::json::{self, List, Object};
/// Writes one of `thinking_blocks`, which have the form of Messages.
pub(crate) use crate::messages::write::write_thinking as thinking_block;
use crate::request::{
    Body, Format, Message, Part, Reasoning, Request, Role, Seal, Source, Target, Thinking, Tool, ToolChoice, effort_of,
    nearest,
};
use crate::rules;

/// Longest name of a tool that OpenAI takes.
pub(crate) const MAX_NAME: usize = 64;

pub(crate) fn request(request: &Request, target: &Target<'_>) -> Result<Vec<u8>, Refused> {
    if !target.extras {
        request.check_names(MAX_NAME)?;
    }
    let mut out = Vec::with_capacity(4_096);
    json::object(&mut out, |o| {
        o.string("model", target.model);
        o.list("messages", |list| {
            request.messages.iter().try_for_each(|message| write_message(list, message, target))
        })?;
        if let Some(max) = request.max_tokens {
            o.number(if target.old_max_tokens { "max_tokens" } else { "max_completion_tokens" }, max);
        }
        if !request.tools.is_empty() {
            o.list("tools", |list| request.tools.iter().for_each(|tool| list.object(|o| write_tool(o, tool))));
        }
        choice(o, request);
        format(o, request.format.as_ref());
        sampling(o, request)?;
        if !request.stop.is_empty() {
            o.list("stop", |list| request.stop.iter().for_each(|stop| list.string(stop)));
        }
        if let Some(effort) = effort(&request.reasoning, target)? {
            o.string("reasoning_effort", effort);
        }
        if let Some(verbosity) = &request.verbosity {
            o.string("verbosity", verbosity);
        }
        rules::openai_labels(o, request);
        if request.stream {
            o.bool("stream", true);
            o.object("stream_options", |o| o.bool("include_usage", true));
        }
        Ok(())
    })?;
    Ok(out)
}

/// The effort that the caller's wish stands for, as this model takes it.
pub(crate) fn effort(reasoning: &Reasoning, target: &Target<'_>) -> Result<Option<&'static str>, Refused> {
    let effort = match (reasoning.mode, reasoning.effort.as_deref()) {
        (Some(Thinking::Off), _) => Some("none"),
        (_, Some(effort)) => Some(effort),
        (Some(Thinking::Budget(tokens)), None) => Some(effort_of(tokens)),
        (Some(Thinking::Adaptive) | None, None) => None,
    };
    match effort {
        Some("none") if !target.reasons => Ok(None),
        Some(_) if !target.reasons => {
            let field = if reasoning.mode.is_some() { "thinking" } else { "reasoning_effort" };
            Err(Refused::new(field, "this model does not reason"))
        }
        effort => Ok(effort.and_then(|effort| nearest(effort, target.efforts))),
    }
}

fn sampling(o: &mut Object<'_>, request: &Request) -> Result<(), Refused> {
    let sampling = &request.sampling;
    for (key, value) in [
        ("temperature", &sampling.temperature),
        ("top_p", &sampling.top_p),
        ("presence_penalty", &sampling.presence_penalty),
        ("frequency_penalty", &sampling.frequency_penalty),
        ("seed", &sampling.seed),
    ] {
        if let Some(value) = value {
            o.raw(key, value);
        }
    }
    match sampling.top_k {
        Some(_) => Err(Refused::new("top_k", "cannot be translated for this model")),
        None => Ok(()),
    }
}

fn choice(o: &mut Object<'_>, request: &Request) {
    match &request.tool_choice {
        Some(ToolChoice::Auto) => o.string("tool_choice", "auto"),
        Some(ToolChoice::None) => o.string("tool_choice", "none"),
        Some(ToolChoice::Required) => o.string("tool_choice", "required"),
        Some(ToolChoice::Named(name)) => o.object("tool_choice", |o| {
            o.string("type", "function");
            o.object("function", |o| o.string("name", name));
        }),
        None => {}
    }
    if let (Some(parallel), false) = (request.parallel_tool_calls, request.tools.is_empty()) {
        o.bool("parallel_tool_calls", parallel);
    }
}

fn write_tool(o: &mut Object<'_>, tool: &Tool) {
    o.string("type", "function");
    o.object("function", |o| {
        o.string("name", &tool.name);
        if let Some(description) = &tool.description {
            o.string("description", description);
        }
        if let Some(parameters) = &tool.parameters {
            o.raw("parameters", parameters);
        }
        if let Some(strict) = tool.strict {
            o.bool("strict", strict);
        }
    });
}

fn format(o: &mut Object<'_>, format: Option<&Format>) {
    match format {
        None | Some(Format::Text) => {}
        Some(Format::JsonObject) => o.object("response_format", |o| o.string("type", "json_object")),
        Some(Format::Schema { name, description, schema, strict }) => o.object("response_format", |o| {
            o.string("type", "json_schema");
            o.object("json_schema", |o| {
                o.string("name", name.as_deref().unwrap_or(rules::SCHEMA_NAME));
                if let Some(description) = description {
                    o.string("description", description);
                }
                o.raw("schema", schema);
                if let Some(strict) = strict {
                    o.bool("strict", *strict);
                }
            });
        }),
    }
}

fn write_message(list: &mut List<'_>, message: &Message, target: &Target<'_>) -> Result<(), Refused> {
    match message.role {
        // An answer of thinking alone says nothing here.
        Role::Assistant if !says(message, target) => Ok(()),
        Role::Assistant => list.object(|o| assistant(o, message, target)),
        Role::User => user(list, message),
        Role::System | Role::Developer => list.object(|o| {
            o.string("role", message.role.name());
            content(o, message.plain, &message.parts)
        }),
    }
}

/// A turn of the user's: the tools' results first, each a message, then the rest.
fn user(list: &mut List<'_>, message: &Message) -> Result<(), Refused> {
    let mut pictures: Vec<(&str, Vec<&Part>)> = Vec::new();
    for part in &message.parts {
        if let Body::ToolResult { id, content, is_error } = &part.body {
            list.object(|o| {
                o.string("role", "tool");
                o.string("tool_call_id", id);
                tool_content(o, content, *is_error)
            })?;
            let of_this: Vec<&Part> = content.iter().filter(|part| !matches!(part.body, Body::Text(_))).collect();
            if !of_this.is_empty() {
                pictures.push((id, of_this));
            }
        }
    }
    // This protocol's tools answer in text only; their pictures follow in a message of the user's.
    if !pictures.is_empty() {
        list.object(|o| {
            o.string("role", "user");
            o.list("content", |list| {
                for (id, parts) in &pictures {
                    list.object(|o| text_part(o, &format!("Pictures and files in the result of the tool call {id}:")));
                    parts.iter().try_for_each(|part| list.object(|o| write_part(o, part)))?;
                }
                Ok(())
            })
        })?;
    }
    let rest: Vec<&Part> = message.parts.iter().filter(|part| !matches!(part.body, Body::ToolResult { .. })).collect();
    if rest.is_empty() && rest.len() != message.parts.len() {
        return Ok(());
    }
    list.object(|o| {
        o.string("role", "user");
        content(o, message.plain, rest)
    })
}

fn tool_content(o: &mut Object<'_>, content: &[Part], is_error: bool) -> Result<(), Refused> {
    let texts: Vec<&str> = content
        .iter()
        .filter_map(|part| match &part.body {
            Body::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    match (texts.as_slice(), is_error) {
        ([], true) => o.string("content", "Error"),
        ([], false) if content.is_empty() => o.string("content", ""),
        ([], false) => o.string("content", "The result is in the next message."),
        ([text], false) => o.string("content", text),
        ([text], true) => o.string("content", &rules::error_text(text)),
        (texts, _) => o.list("content", |list| {
            for (index, text) in texts.iter().enumerate() {
                let marked = index == 0 && is_error;
                list.object(|o| if marked { text_part(o, &rules::error_text(text)) } else { text_part(o, text) });
            }
        }),
    }
    Ok(())
}

fn content<'a>(
    o: &mut Object<'_>,
    plain: bool,
    parts: impl IntoIterator<Item = &'a Part, IntoIter: ExactSizeIterator>,
) -> Result<(), Refused> {
    let mut parts = parts.into_iter();
    if parts.len() == 0 || (plain && parts.len() == 1) {
        match parts.next().map(|part| &part.body) {
            Some(Body::Text(text)) => o.string("content", text),
            _ => o.string("content", ""),
        }
        return Ok(());
    }
    o.list("content", |list| parts.try_for_each(|part| list.object(|o| write_part(o, part))))
}

fn text_part(o: &mut Object<'_>, text: &str) {
    o.string("type", "text");
    o.string("text", text);
}

fn write_part(o: &mut Object<'_>, part: &Part) -> Result<(), Refused> {
    match &part.body {
        Body::Text(text) => text_part(o, text),
        Body::Image { source, detail } => {
            o.string("type", "image_url");
            let url = rules::url(source).ok_or_else(|| Refused::new(&part.at, "is no picture"))?;
            o.object("image_url", |o| {
                o.string("url", &url);
                if let Some(detail) = detail {
                    o.string("detail", detail);
                }
            });
        }
        Body::File { source: source @ Source::Base64 { .. }, name, context: None } => {
            o.string("type", "file");
            let url = rules::url(source).unwrap_or_default();
            o.object("file", |o| {
                o.string("filename", name.as_deref().unwrap_or(rules::FILE_NAME));
                o.string("file_data", &url);
            });
        }
        Body::File { source: Source::Text(text), name, context } => {
            text_part(o, &rules::document_text(text, name.as_deref(), context.as_deref()));
        }
        Body::File { context: Some(_), .. } => {
            return Err(Refused::new(format!("{}.context", part.at), "cannot be translated for this model"));
        }
        Body::File { .. } => return part.refuse("a file by URL cannot be translated for this model"),
        _ => return part.refuse("cannot stand in a message of this role"),
    }
    rules::breakpoint(o, part.cache.as_ref());
    Ok(())
}

/// True if a turn of the model's has anything that goes to this server.
fn says(message: &Message, target: &Target<'_>) -> bool {
    let is_thinking = |part: &Part| matches!(part.body, Body::Thinking { .. });
    message.parts.iter().any(|part| !is_thinking(part) || signed(part, target).is_some())
}

/// Thinking with a proof that this server takes.
fn signed<'a>(part: &'a Part, target: &Target<'_>) -> Option<(&'a str, &'a Seal)> {
    match &part.body {
        Body::Thinking { text, seal } if target.thinking_blocks && seal.is_anthropic() => Some((text, seal)),
        _ => None,
    }
}

fn assistant(o: &mut Object<'_>, message: &Message, target: &Target<'_>) -> Result<(), Refused> {
    o.string("role", "assistant");
    let of =
        |wanted: fn(&Body) -> bool| message.parts.iter().filter(move |part| wanted(&part.body)).collect::<Vec<_>>();
    let texts = of(|body| matches!(body, Body::Text(_)));
    let calls = of(|body| matches!(body, Body::ToolCall { .. }));
    let thinking = of(|body| matches!(body, Body::Thinking { .. }));
    let refusals = of(|body| matches!(body, Body::Refusal(_)));
    if let Some(other) = message.parts.iter().find(|part| {
        !matches!(part.body, Body::Text(_) | Body::ToolCall { .. } | Body::Thinking { .. } | Body::Refusal(_))
    }) {
        return other.refuse("cannot stand in an answer");
    }
    if texts.is_empty() && calls.is_empty() && refusals.is_empty() {
        o.string("content", "");
    } else if texts.is_empty() {
        o.null("content");
    } else {
        content(o, message.plain || texts.len() == 1, texts)?;
    }
    if !refusals.is_empty() {
        let texts = refusals.iter().filter_map(|part| match &part.body {
            Body::Refusal(text) => Some(text.as_str()),
            _ => None,
        });
        o.string("refusal", &texts.collect::<String>());
    }
    thinking_fields(o, &thinking, !calls.is_empty(), target);
    if !calls.is_empty() {
        o.list("tool_calls", |list| {
            calls.iter().for_each(|part| {
                list.object(|o| {
                    tool_call(o, part);
                    if target.extras {
                        extra(o, part, &thinking);
                    }
                });
            })
        });
    }
    Ok(())
}

/// Thinking that this kind of upstream gave: unsigned text goes back with the calls that it led to, as DeepSeek and vLLM
/// want it; signed blocks go to servers that know them.
fn thinking_fields(o: &mut Object<'_>, thinking: &[&Part], calls: bool, target: &Target<'_>) {
    let open = thinking.iter().filter_map(|part| match &part.body {
        Body::Thinking { text, seal: Seal::Open } if !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    let open: Vec<&str> = open.collect();
    if calls && target.unsigned && !open.is_empty() {
        o.string("reasoning_content", &open.join("\n\n"));
    }
    let signed: Vec<_> = thinking.iter().filter_map(|part| signed(part, target)).collect();
    if !signed.is_empty() {
        o.list("thinking_blocks", |list| {
            signed.iter().for_each(|(text, seal)| list.object(|o| thinking_block(o, text, seal)));
        });
    }
}

/// Gives back to a server what it had put beside the call.
fn extra(o: &mut Object<'_>, part: &Part, thinking: &[&Part]) {
    let Body::ToolCall { id, .. } = &part.body else { return };
    let found = thinking.iter().find_map(|part| match &part.body {
        Body::Thinking { seal: Seal::Extra { call, json }, .. } if call == id => Some(json),
        _ => None,
    });
    if let Some(json) = found {
        o.literal("extra_content", json);
    }
}

pub(crate) fn tool_call(o: &mut Object<'_>, part: &Part) {
    if let Body::ToolCall { id, name, arguments } = &part.body {
        o.string("id", id);
        o.string("type", "function");
        o.object("function", |o| {
            o.string("name", name);
            o.string("arguments", if arguments.is_empty() { "{}" } else { arguments });
        });
    }
}
