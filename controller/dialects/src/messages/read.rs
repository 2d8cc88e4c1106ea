//! Reads a messages request. Every field of the reference is here by name: taken, left out with its reason, or left for the
//! refusal at the end.

use crate::chat::read::{effort, texts};
use crate::dialect::Dialect;
use crate::error::Refused;
use crate::fields::{Fields, Item};
use crate::messages::content;
use crate::request::{Body, Format, Message, Reasoning, Request, Role, Thinking, Tool, ToolChoice};

pub(crate) fn request(body: &[u8]) -> Result<Request, Refused> {
    let mut fields = Fields::body(body)?;
    let mut request = Request::empty(Dialect::Messages, fields.need_string("model")?.into_owned());
    request.stream = fields.bool("stream")?.unwrap_or_default();
    request.max_tokens = fields.number("max_tokens")?;
    system(&mut fields, &mut request)?;
    for item in fields.list("messages")?.ok_or_else(|| Refused::new("messages", "is missing"))? {
        request.messages.push(message(item)?);
    }
    for item in fields.list("tools")?.unwrap_or_default() {
        request.tools.push(tool(item)?);
    }
    tool_choice(&mut fields, &mut request)?;
    request.check_choice()?;
    request.sampling.temperature = fields.decimal("temperature")?.map(ToOwned::to_owned);
    request.sampling.top_p = fields.decimal("top_p")?.map(ToOwned::to_owned);
    request.sampling.top_k = fields.number("top_k")?;
    if let Some(items) = fields.list("stop_sequences")? {
        request.stop = texts(items)?;
    }
    request.reasoning = thinking(&mut fields)?;
    output_config(&mut fields, &mut request)?;
    request.service_tier = fields.string("service_tier")?.map(Into::into);
    if let Some(mut metadata) = fields.object("metadata")? {
        request.user = metadata.string("user_id")?.map(Into::into);
        metadata.finish()?;
    }
    request.cache = content::cache(&mut fields)?;
    context_management(&mut fields)?;
    // Asks why a cache was missed.
    fields.leave_out(&["diagnostics"]);
    fields.only("speed", &["\"standard\""], "may only be standard for this model")?;
    fields.finish()?;
    Ok(request)
}

fn system(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Refused> {
    if let Some(raw) = fields.take("system") {
        let (parts, plain) = content::blocks("system", raw, Role::System)?;
        if !parts.is_empty() {
            request.messages.push(Message { at: "system".into(), role: Role::System, parts, plain });
        }
    }
    Ok(())
}

fn message(item: Item<'_>) -> Result<Message, Refused> {
    let mut fields = Fields::read(item.at.clone(), item.raw)?;
    let role = match fields.need_string("role")?.as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(Refused::new(fields.path("role"), "is not known")),
    };
    let path = fields.path("content");
    let raw = fields.take("content").ok_or_else(|| Refused::new(path.as_str(), "is missing"))?;
    let (parts, plain) = content::blocks(&path, raw, role)?;
    fields.finish()?;
    Ok(Message { at: item.at, role, parts, plain })
}

fn tool(item: Item<'_>) -> Result<Tool, Refused> {
    let mut fields = Fields::read(item.at, item.raw)?;
    fields.only("type", &["\"custom\""], "is run by its provider and cannot be translated for this model")?;
    fields.only("defer_loading", &["false"], "may only be false for this model")?;
    fields.only("allowed_callers", &["[\"direct\"]"], "may only be direct for this model")?;
    // In which pieces a call's arguments come.
    fields.leave_out(&["eager_input_streaming"]);
    let tool = Tool {
        name: fields.need_string("name")?.into_owned(),
        description: fields.string("description")?.map(Into::into),
        parameters: fields.raw_object("input_schema")?.map(ToOwned::to_owned),
        strict: fields.bool("strict")?,
        cache: content::cache(&mut fields)?,
    };
    fields.finish()?;
    Ok(tool)
}

fn tool_choice(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Refused> {
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok(()) };
    request.tool_choice = Some(match choice.need_string("type")?.as_ref() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.need_string("name")?.into_owned()),
        _ => return Err(Refused::new("tool_choice.type", "is not known")),
    });
    request.parallel_tool_calls = choice.bool("disable_parallel_tool_use")?.map(|off| !off);
    choice.finish()
}

/// Edits that only clear old thoughts and results at the provider are left out: the model then sees more, not less.
fn context_management(fields: &mut Fields<'_>) -> Result<(), Refused> {
    let Some(mut management) = fields.object("context_management")? else { return Ok(()) };
    for item in management.list("edits")?.unwrap_or_default() {
        let mut edit = Fields::read(item.at, item.raw)?;
        if !edit.need_string("type")?.starts_with("clear_") {
            return Err(Refused::new(edit.path("type"), "cannot be translated for this model"));
        }
    }
    management.finish()
}

fn thinking(fields: &mut Fields<'_>) -> Result<Reasoning, Refused> {
    let mut reasoning = Reasoning::default();
    let Some(mut thinking) = fields.object("thinking")? else { return Ok(reasoning) };
    reasoning.mode = Some(match thinking.need_string("type")?.as_ref() {
        "disabled" => Thinking::Off,
        "adaptive" => Thinking::Adaptive,
        "enabled" => match thinking.number("budget_tokens")? {
            Some(tokens) => Thinking::Budget(tokens),
            None => return Err(Refused::new("thinking.budget_tokens", "is missing")),
        },
        _ => return Err(Refused::new("thinking.type", "is not known, or cannot be translated for this model")),
    });
    reasoning.summary = match thinking.string("display")?.as_deref() {
        None => None,
        Some("summarized") => Some("auto".into()),
        Some("omitted") => Some("omitted".into()),
        Some(_) => return Err(Refused::new("thinking.display", "is not known")),
    };
    thinking.finish()?;
    Ok(reasoning)
}

fn output_config(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Refused> {
    let Some(mut config) = fields.object("output_config")? else { return Ok(()) };
    request.reasoning.effort = effort(&mut config, "effort")?;
    if let Some(mut format) = config.object("format")? {
        format.only("type", &["\"json_schema\""], "is not known")?;
        let path = format.path("schema");
        let schema = format.raw_object("schema")?.ok_or_else(|| Refused::new(path, "is missing"))?;
        format.finish()?;
        // This protocol's schemas are always kept to.
        request.format =
            Some(Format::Schema { name: None, description: None, schema: schema.to_owned(), strict: Some(true) });
    }
    config.finish()
}

impl Message {
    /// The role of a message whose parts are all results of tools.
    pub(crate) fn holds_results(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.body, Body::ToolResult { .. }))
    }
}
