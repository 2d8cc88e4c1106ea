//! Reads a responses request. Every field of the reference is here by name: taken, left out with its reason, or left for the
//! refusal at the end.

use crate::chat::content::cache;
use crate::chat::read::{choice_word, effort, schema};
use crate::custom::{self, Custom};
use crate::dialect::Dialect;
use crate::error::Refused;
use crate::fields::{Fields, Item, is_string, text_at};
use crate::request::{Body, Format, Message, Part, Request, Role, Seal, Tool, ToolChoice};
use crate::responses::content;

pub(crate) fn request(body: &[u8]) -> Result<Request, Refused> {
    let mut fields = Fields::body(body)?;
    let mut request = Request::empty(Dialect::Responses, fields.need_string("model")?.into_owned());
    request.stream = fields.bool("stream")?.unwrap_or_default();
    request.max_tokens = fields.number("max_output_tokens")?;
    if let Some(text) = fields.string("instructions")? {
        let parts = vec![Part::new("instructions", Body::Text(text.into_owned()))];
        request.messages.push(Message { at: "instructions".into(), role: Role::System, parts, plain: true });
    }
    input(&mut fields, &mut request.messages)?;
    for item in fields.list("tools")?.unwrap_or_default() {
        tool(item, &mut request)?;
    }
    request.tool_choice = tool_choice(&mut fields)?;
    request.check_choice()?;
    request.parallel_tool_calls = fields.bool("parallel_tool_calls")?;
    text(&mut fields, &mut request)?;
    reasoning(&mut fields, &mut request)?;
    request.sampling.temperature = fields.decimal("temperature")?.map(ToOwned::to_owned);
    request.sampling.top_p = fields.decimal("top_p")?.map(ToOwned::to_owned);
    request.sampling.presence_penalty = fields.decimal("presence_penalty")?.map(ToOwned::to_owned);
    request.sampling.frequency_penalty = fields.decimal("frequency_penalty")?.map(ToOwned::to_owned);
    request.service_tier = fields.string("service_tier")?.map(Into::into);
    request.user = fields.string("user")?.map(Into::into);
    request.safety_identifier = fields.string("safety_identifier")?.map(Into::into);
    request.metadata = fields.raw_object("metadata")?.map(ToOwned::to_owned);
    request.prompt_cache_key = fields.string("prompt_cache_key")?.map(Into::into);
    request.prompt_cache_retention = fields.string("prompt_cache_retention")?.map(Into::into);
    include(&mut fields)?;
    // Padding against listeners is the upstream's own affair; labels of a coding tool say nothing to a model.
    fields.leave_out(&["stream_options", "client_metadata"]);
    fields.only("store", &["false"], "may only be false: a translated call is stored nowhere")?;
    fields.only("previous_response_id", &[], "cannot be translated: a translated call is stored nowhere")?;
    fields.only("background", &["false"], "may only be false for this model")?;
    fields.only("truncation", &["\"disabled\""], "may only be disabled for this model")?;
    fields.only("top_logprobs", &["0"], "may only be 0 for this model")?;
    fields.finish()?;
    Ok(request)
}

fn include(fields: &mut Fields<'_>) -> Result<(), Refused> {
    for item in fields.list("include")?.unwrap_or_default() {
        // Proofs of thinking are always included.
        if text_at(&item.at, item.raw)? != "reasoning.encrypted_content" {
            return Err(Refused::new(item.at, "cannot be translated for this model"));
        }
    }
    Ok(())
}

fn input(fields: &mut Fields<'_>, messages: &mut Vec<Message>) -> Result<(), Refused> {
    match fields.take("input") {
        None => Err(Refused::new("input", "is missing")),
        Some(raw) if is_string(raw) => {
            let parts = vec![Part::new("input", Body::Text(text_at("input", raw)?.into_owned()))];
            messages.push(Message { at: "input".into(), role: Role::User, parts, plain: true });
            Ok(())
        }
        Some(raw) => crate::fields::list_at("input", raw)?.into_iter().try_for_each(|item| input_item(item, messages)),
    }
}

fn input_item(item: Item<'_>, messages: &mut Vec<Message>) -> Result<(), Refused> {
    let mut fields = Fields::read(item.at.clone(), item.raw)?;
    let kind = fields.string("type")?;
    let part = match kind.as_deref() {
        None | Some("message") => return message(fields, messages),
        Some("function_call") => function_call(fields, "arguments")?,
        Some("custom_tool_call") => function_call(fields, "input")?,
        Some("function_call_output" | "custom_tool_call_output") => {
            let part = function_call_output(fields)?;
            return match messages.last_mut() {
                Some(last) if last.holds_results() => {
                    last.parts.push(part);
                    Ok(())
                }
                _ => {
                    messages.push(Message { at: item.at, role: Role::User, parts: vec![part], plain: false });
                    Ok(())
                }
            };
        }
        Some("reasoning") => reasoning_item(fields)?,
        Some("item_reference") => {
            return Err(Refused::new(item.at, "refers to a stored item; a translated call is stored nowhere"));
        }
        Some(_) => return Err(Refused::new(fields.path("type"), "cannot be translated for this model")),
    };
    append(item.at, vec![part], false, messages);
    Ok(())
}

/// The items of one answer are one turn of the assistant's.
fn append(at: String, parts: Vec<Part>, plain: bool, messages: &mut Vec<Message>) {
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant => {
            last.parts.extend(parts);
            last.plain = false;
        }
        _ => messages.push(Message { at, role: Role::Assistant, parts, plain }),
    }
}

fn message(mut fields: Fields<'_>, messages: &mut Vec<Message>) -> Result<(), Refused> {
    let at = fields.at().to_owned();
    let role = match fields.need_string("role")?.as_ref() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(Refused::new(fields.path("role"), "is not known")),
    };
    let path = fields.path("content");
    let raw = fields.take("content").ok_or_else(|| Refused::new(path.as_str(), "is missing"))?;
    let (parts, plain) = content::parts(&path, raw)?;
    for part in &parts {
        match (&part.body, role) {
            (Body::Text(_), _) | (Body::Image { .. } | Body::File { .. }, Role::User) => {}
            (Body::Refusal(_), Role::Assistant) => {}
            _ => return part.refuse("cannot stand in a message of this role"),
        }
    }
    // Names and states of an earlier answer's items.
    fields.leave_out(&["id", "status", "phase"]);
    fields.finish()?;
    match role {
        Role::Assistant => append(at, parts, plain, messages),
        role => messages.push(Message { at, role, parts, plain }),
    }
    Ok(())
}

fn function_call(mut fields: Fields<'_>, key: &str) -> Result<Part, Refused> {
    let said = fields.need_string(key)?;
    let body = Body::ToolCall {
        id: fields.need_string("call_id")?.into_owned(),
        name: fields.need_string("name")?.into_owned(),
        arguments: if key == "input" { custom::arguments(&said) } else { said.into_owned() },
    };
    fields.leave_out(&["id", "status", "parsed_arguments"]);
    fields.only("async", &["false"], "may only be false for this model")?;
    let at = fields.at().to_owned();
    if let Some(mut caller) = fields.object("caller")? {
        caller.only("type", &["\"direct\""], "may only be direct for this model")?;
        caller.finish()?;
    }
    fields.finish()?;
    Ok(Part::new(at, body))
}

fn function_call_output(mut fields: Fields<'_>) -> Result<Part, Refused> {
    let path = fields.path("output");
    let raw = fields.take("output").ok_or_else(|| Refused::new(path.as_str(), "is missing"))?;
    let (content, _) = content::parts(&path, raw)?;
    let body = Body::ToolResult { id: fields.need_string("call_id")?.into_owned(), content, is_error: false };
    fields.leave_out(&["id", "status", "name"]);
    let at = fields.at().to_owned();
    fields.finish()?;
    Ok(Part::new(at, body))
}

fn reasoning_item(mut fields: Fields<'_>) -> Result<Part, Refused> {
    let id = fields.string("id")?.unwrap_or_default();
    let mut texts = Vec::new();
    for key in ["summary", "content"] {
        for item in fields.list(key)?.unwrap_or_default() {
            let mut part = Fields::read(item.at, item.raw)?;
            texts.push(part.need_string("text")?.into_owned());
            part.leave_out(&["type"]);
            part.finish()?;
        }
    }
    let encrypted = fields.string("encrypted_content")?;
    let body = Body::Thinking { text: texts.join("\n\n"), seal: Seal::of_item(&id, encrypted.as_deref()) };
    fields.leave_out(&["status"]);
    let at = fields.at().to_owned();
    fields.finish()?;
    Ok(Part::new(at, body))
}

fn tool(item: Item<'_>, request: &mut Request) -> Result<(), Refused> {
    let mut fields = Fields::read(item.at, item.raw)?;
    let custom = fields.look("type").is_some_and(|raw| raw.get() == "\"custom\"");
    fields.only("type", &["\"function\"", "\"custom\""], "may only be function or custom for this model")?;
    fields.only("defer_loading", &["false"], "may only be false for this model")?;
    fields.only("async", &["false"], "may only be false for this model")?;
    fields.only("allowed_callers", &["[\"direct\"]"], "may only be direct for this model")?;
    if custom {
        let tool = custom::tool(&mut fields)?;
        request.custom.push(Custom { name: tool.name.clone(), written: item.raw.to_owned() });
        request.tools.push(tool);
        return fields.finish();
    }
    let tool = Tool {
        name: fields.need_string("name")?.into_owned(),
        description: fields.string("description")?.map(Into::into),
        parameters: fields.raw_object("parameters")?.map(ToOwned::to_owned),
        strict: fields.bool("strict")?,
        cache: cache(&mut fields)?,
    };
    request.tools.push(tool);
    fields.finish()
}

fn tool_choice(fields: &mut Fields<'_>) -> Result<Option<ToolChoice>, Refused> {
    let Some(raw) = fields.take("tool_choice") else { return Ok(None) };
    if is_string(raw) {
        return choice_word(&text_at("tool_choice", raw)?).map(Some);
    }
    let mut choice = Fields::read("tool_choice".into(), raw)?;
    choice.only("type", &["\"function\"", "\"custom\""], "may only be function or custom for this model")?;
    let name = choice.need_string("name")?.into_owned();
    choice.finish()?;
    Ok(Some(ToolChoice::Named(name)))
}

fn text(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Refused> {
    let Some(mut text) = fields.object("text")? else { return Ok(()) };
    request.verbosity = text.string("verbosity")?.map(Into::into);
    if let Some(mut format) = text.object("format")? {
        request.format = Some(match format.need_string("type")?.as_ref() {
            "text" => Format::Text,
            "json_object" => Format::JsonObject,
            "json_schema" => schema(&mut format)?,
            _ => return Err(Refused::new(format.path("type"), "is not known")),
        });
        format.finish()?;
    }
    text.finish()
}

fn reasoning(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Refused> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(()) };
    request.reasoning.effort = effort(&mut reasoning, "effort")?;
    let old = reasoning.string("generate_summary")?;
    request.reasoning.summary = reasoning.string("summary")?.or(old).map(Into::into);
    reasoning.only("context", &["\"auto\""], "may only be auto for this model")?;
    reasoning.only("mode", &["\"standard\""], "may only be standard for this model")?;
    reasoning.finish()
}
