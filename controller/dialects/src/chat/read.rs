//! Reads a chat completions request. Every field of the reference is here by name: taken, left out with its reason, or left
//! for the refusal at the end.

use crate::chat::content;
use crate::custom::{self, Custom};
use crate::dialect::Dialect;
use crate::error::Refused;
use crate::fields::{Fields, Item};
use crate::request::{Body, EFFORTS, Format, Message, Part, Request, Role, Seal, Tool, ToolChoice};

pub(crate) fn request(body: &[u8]) -> Result<Request, Refused> {
    let mut fields = Fields::body(body)?;
    let mut request = Request::empty(Dialect::Chat, fields.need_string("model")?.into_owned());
    request.stream = fields.bool("stream")?.unwrap_or_default();
    request.include_usage = stream_options(&mut fields)?;
    let old = fields.number("max_tokens")?;
    request.max_tokens = fields.number("max_completion_tokens")?.or(old);
    let messages = fields.list("messages")?.ok_or_else(|| Refused::new("messages", "is missing"))?;
    for item in messages {
        message(item, &mut request.messages)?;
    }
    for item in fields.list("tools")?.unwrap_or_default() {
        tool(item, &mut request)?;
    }
    request.tool_choice = tool_choice(&mut fields)?;
    request.check_choice()?;
    request.parallel_tool_calls = fields.bool("parallel_tool_calls")?;
    request.format = format(&mut fields)?;
    request.verbosity = fields.string("verbosity")?.map(Into::into);
    request.sampling.temperature = fields.decimal("temperature")?.map(ToOwned::to_owned);
    request.sampling.top_p = fields.decimal("top_p")?.map(ToOwned::to_owned);
    request.sampling.top_k = fields.number("top_k")?;
    request.sampling.presence_penalty = fields.decimal("presence_penalty")?.map(ToOwned::to_owned);
    request.sampling.frequency_penalty = fields.decimal("frequency_penalty")?.map(ToOwned::to_owned);
    request.sampling.seed = fields.decimal("seed")?.map(ToOwned::to_owned);
    request.stop = stop(&mut fields)?;
    request.reasoning.effort = effort(&mut fields, "reasoning_effort")?;
    request.service_tier = fields.string("service_tier")?.map(Into::into);
    request.user = fields.string("user")?.map(Into::into);
    request.safety_identifier = fields.string("safety_identifier")?.map(Into::into);
    request.metadata = fields.raw_object("metadata")?.map(ToOwned::to_owned);
    request.prompt_cache_key = fields.string("prompt_cache_key")?.map(Into::into);
    request.prompt_cache_retention = fields.string("prompt_cache_retention")?.map(Into::into);
    fields.only("n", &["1"], "may only be 1 for this model")?;
    fields.only("logprobs", &["false"], "may only be false for this model")?;
    fields.only("top_logprobs", &["0"], "may only be 0 for this model")?;
    fields.only("store", &["false"], "may only be false: a translated call is stored nowhere")?;
    fields.only("logit_bias", &["{}"], "may only be empty for this model")?;
    fields.only("modalities", &["[\"text\"]"], "may only be [\"text\"] for this model")?;
    fields.finish()?;
    Ok(request)
}

/// Reads `stream_options`. Padding against listeners (`include_obfuscation`) is the upstream's own affair.
fn stream_options(fields: &mut Fields<'_>) -> Result<bool, Refused> {
    let Some(mut options) = fields.object("stream_options")? else { return Ok(false) };
    let usage = options.bool("include_usage")?.unwrap_or_default();
    options.leave_out(&["include_obfuscation"]);
    options.finish()?;
    Ok(usage)
}

pub(crate) fn effort(fields: &mut Fields<'_>, key: &str) -> Result<Option<String>, Refused> {
    match fields.string(key)? {
        Some(effort) if !EFFORTS.contains(&effort.as_ref()) => Err(Refused::new(fields.path(key), "is not known")),
        effort => Ok(effort.map(Into::into)),
    }
}

fn stop(fields: &mut Fields<'_>) -> Result<Vec<String>, Refused> {
    match fields.take("stop") {
        None => Ok(Vec::new()),
        Some(raw) if crate::fields::is_string(raw) => Ok(vec![crate::fields::text_at("stop", raw)?.into_owned()]),
        Some(raw) => texts(crate::fields::list_at("stop", raw)?),
    }
}

pub(crate) fn texts(items: Vec<Item<'_>>) -> Result<Vec<String>, Refused> {
    items.into_iter().map(|item| Ok(crate::fields::text_at(&item.at, item.raw)?.into_owned())).collect()
}

fn message(item: Item<'_>, messages: &mut Vec<Message>) -> Result<(), Refused> {
    let mut fields = Fields::read(item.at, item.raw)?;
    let at = fields.at().to_owned();
    let role = fields.need_string("role")?;
    let role = match role.as_ref() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => return tool_result(fields, messages),
        _ => return Err(Refused::new(fields.path("role"), "is not known, or cannot be translated for this model")),
    };
    let (mut parts, plain) = match fields.take("content") {
        Some(raw) => content::parts(&fields.path("content"), raw)?,
        None if role == Role::Assistant => (Vec::new(), true),
        None => return Err(Refused::new(fields.path("content"), "is missing")),
    };
    only_texts(role, &parts)?;
    if role == Role::Assistant {
        parts.splice(..0, content::thinking(&mut fields)?);
        if let Some(refusal) = fields.string("refusal")? {
            parts.push(Part::new(fields.path("refusal"), Body::Refusal(refusal.into_owned())));
        }
        for item in fields.list("tool_calls")?.unwrap_or_default() {
            tool_call(item, &mut parts)?;
        }
        // Parts of answers that say nothing to a model, and the client library's own reading of the text.
        fields.leave_out(&["annotations", "parsed"]);
        // Clients write a turn of calls with an empty text.
        parts.retain(|part| !matches!(&part.body, Body::Text(text) if text.is_empty()));
    }
    mark_last(&mut fields, &mut parts)?;
    fields.finish()?;
    messages.push(Message { at, role, parts, plain });
    Ok(())
}

/// A mark on a message stands for one on its last part.
fn mark_last(fields: &mut Fields<'_>, parts: &mut [Part]) -> Result<(), Refused> {
    if let (Some(cache), Some(last)) = (content::cache(fields)?, parts.last_mut()) {
        last.cache = Some(cache);
    }
    Ok(())
}

fn only_texts(role: Role, parts: &[Part]) -> Result<(), Refused> {
    for part in parts {
        match (&part.body, role) {
            (Body::Text(_), _) | (Body::Image { .. } | Body::File { .. }, Role::User) => {}
            (Body::Refusal(_), Role::Assistant) => {}
            _ => return part.refuse("cannot stand in a message of this role"),
        }
    }
    Ok(())
}

fn tool_call(item: Item<'_>, parts: &mut Vec<Part>) -> Result<(), Refused> {
    let mut fields = Fields::read(item.at.clone(), item.raw)?;
    let kind = fields.string("type")?;
    let id = fields.need_string("id")?.into_owned();
    if kind.as_deref() == Some("custom") {
        let mut custom = fields.need_object("custom")?;
        let name = custom.need_string("name")?.into_owned();
        let arguments = custom::arguments(&custom.need_string("input")?);
        custom.finish()?;
        fields.leave_out(&["index"]);
        parts.push(Part::new(item.at, Body::ToolCall { id, name, arguments }));
        return fields.finish();
    }
    if kind.is_some_and(|kind| kind != "function") {
        return Err(Refused::new(fields.path("type"), "may only be function or custom for this model"));
    }
    let mut function = fields.need_object("function")?;
    let name = function.need_string("name")?.into_owned();
    let arguments = function.string("arguments")?.unwrap_or_default().into_owned();
    // The client library's own reading of the arguments.
    function.leave_out(&["parsed_arguments"]);
    function.finish()?;
    // The position that the pieces of a stream had.
    fields.leave_out(&["index"]);
    let cache = content::cache(&mut fields)?;
    // Gemini's servers sign their calls here.
    if let Some(extra) = fields.raw_object("extra_content")? {
        let seal = Seal::Extra { call: id.clone(), json: extra.get().to_owned() };
        parts.push(Part::new(item.at.as_str(), Body::Thinking { text: String::new(), seal }));
    }
    fields.finish()?;
    parts.push(Part { at: item.at, cache, body: Body::ToolCall { id, name, arguments } });
    Ok(())
}

/// A message of a tool. Those that follow each other are one turn of the user's.
fn tool_result(mut fields: Fields<'_>, messages: &mut Vec<Message>) -> Result<(), Refused> {
    let at = fields.at().to_owned();
    let id = fields.need_string("tool_call_id")?.into_owned();
    let path = fields.path("content");
    let raw = fields.take("content").ok_or_else(|| Refused::new(path.clone(), "is missing"))?;
    let (content, _) = content::parts(&path, raw)?;
    if let Some(other) = content.iter().find(|part| !matches!(part.body, Body::Text(_) | Body::Image { .. })) {
        return other.refuse("cannot stand in a tool's result");
    }
    let cache = content::cache(&mut fields)?;
    // The function's name, which the call has already said.
    fields.leave_out(&["name"]);
    fields.finish()?;
    let part = Part { at: at.clone(), cache, body: Body::ToolResult { id, content, is_error: false } };
    match messages.last_mut() {
        Some(last) if last.parts.iter().any(|part| matches!(part.body, Body::ToolResult { .. })) => {
            last.parts.push(part)
        }
        _ => messages.push(Message { at, role: Role::User, parts: vec![part], plain: false }),
    }
    Ok(())
}

fn tool(item: Item<'_>, request: &mut Request) -> Result<(), Refused> {
    let mut fields = Fields::read(item.at, item.raw)?;
    if fields.look("type").is_some_and(|raw| raw.get() == "\"custom\"") {
        fields.leave_out(&["type"]);
        let mut custom = fields.need_object("custom")?;
        let tool = custom::tool(&mut custom)?;
        custom.finish()?;
        request.custom.push(Custom { name: tool.name.clone(), written: item.raw.to_owned() });
        request.tools.push(tool);
        return fields.finish();
    }
    fields.only("type", &["\"function\""], "may only be function or custom for this model")?;
    let mut function = fields.need_object("function")?;
    let tool = Tool {
        name: function.need_string("name")?.into_owned(),
        description: function.string("description")?.map(Into::into),
        parameters: function.raw_object("parameters")?.map(ToOwned::to_owned),
        strict: function.bool("strict")?,
        cache: content::cache(&mut fields)?,
    };
    function.finish()?;
    request.tools.push(tool);
    fields.finish()
}

fn tool_choice(fields: &mut Fields<'_>) -> Result<Option<ToolChoice>, Refused> {
    let Some(raw) = fields.take("tool_choice") else { return Ok(None) };
    if crate::fields::is_string(raw) {
        return choice_word(&crate::fields::text_at("tool_choice", raw)?).map(Some);
    }
    let mut choice = Fields::read("tool_choice".into(), raw)?;
    let kind = choice.need_string("type")?;
    if !matches!(kind.as_ref(), "function" | "custom") {
        return Err(Refused::new("tool_choice.type", "may only be function or custom for this model"));
    }
    let mut function = choice.need_object(&kind)?;
    let name = function.need_string("name")?.into_owned();
    function.finish()?;
    choice.finish()?;
    Ok(Some(ToolChoice::Named(name)))
}

/// The words that both OpenAI dialects have.
pub(crate) fn choice_word(word: &str) -> Result<ToolChoice, Refused> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        _ => Err(Refused::new("tool_choice", "is not known")),
    }
}

fn format(fields: &mut Fields<'_>) -> Result<Option<Format>, Refused> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(None) };
    let kind = format.need_string("type")?;
    let result = match kind.as_ref() {
        "text" => Format::Text,
        "json_object" => Format::JsonObject,
        "json_schema" => {
            let mut inner = format.need_object("json_schema")?;
            let result = schema(&mut inner)?;
            inner.finish()?;
            result
        }
        _ => return Err(Refused::new(format.path("type"), "is not known")),
    };
    format.finish()?;
    Ok(Some(result))
}

pub(crate) fn schema(fields: &mut Fields<'_>) -> Result<Format, Refused> {
    let schema = fields.raw_object("schema")?.ok_or_else(|| Refused::new(fields.path("schema"), "is missing"))?;
    Ok(Format::Schema {
        name: fields.string("name")?.map(Into::into),
        description: fields.string("description")?.map(Into::into),
        schema: schema.to_owned(),
        strict: fields.bool("strict")?,
    })
}
