//! The content blocks of messages, from their list or text into the neutral form. Blocks that the provider runs itself (web
//! search, code execution) have no counterpart elsewhere and are refused.

use serde_json::value::RawValue;

use crate::error::Refused;
use crate::fields::{Fields, Item, is_string, list_at, text_at};
use crate::request::{Body, Cache, Part, Role, Seal, Source};
use crate::rules::{is_media, upstreams_call_id};

pub(crate) fn blocks(at: &str, raw: &RawValue, role: Role) -> Result<(Vec<Part>, bool), Refused> {
    if is_string(raw) {
        return Ok((vec![Part::new(at, Body::Text(text_at(at, raw)?.into_owned()))], true));
    }
    let parts = list_at(at, raw)?.into_iter().map(|item| block(item, Place::Of(role))).collect::<Result<_, _>>()?;
    Ok((parts, false))
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Of(Role),
    Result,
}

fn block(item: Item<'_>, place: Place) -> Result<Part, Refused> {
    let mut fields = Fields::read(item.at.clone(), item.raw)?;
    let kind = fields.need_string("type")?;
    let body = match (kind.as_ref(), place) {
        ("text", _) => {
            // Citations point into documents of the history; a text stands without them.
            fields.leave_out(&["citations"]);
            Body::Text(fields.need_string("text")?.into_owned())
        }
        ("image", Place::Of(Role::User) | Place::Result) => {
            // A wish about the size, which other providers decide themselves.
            fields.leave_out(&["transformations"]);
            Body::Image { source: source(&mut fields, &["base64", "url"])?, detail: None }
        }
        ("document", Place::Of(Role::User) | Place::Result) => document(&mut fields)?,
        ("tool_use", Place::Of(Role::Assistant)) => tool_use(&mut fields)?,
        ("tool_result", Place::Of(Role::User)) => tool_result(&mut fields)?,
        ("thinking", Place::Of(Role::Assistant)) => Body::Thinking {
            text: fields.need_string("thinking")?.into_owned(),
            seal: Seal::of_signature(&fields.string("signature")?.unwrap_or_default()),
        },
        ("redacted_thinking", Place::Of(Role::Assistant)) => {
            Body::Thinking { text: String::new(), seal: Seal::of_redacted(&fields.need_string("data")?) }
        }
        _ => return Err(Refused::new(fields.path("type"), format!("{kind:?} cannot be translated here"))),
    };
    let cache = cache(&mut fields)?;
    fields.finish()?;
    Ok(Part { at: item.at, cache, body })
}

pub(crate) fn cache(fields: &mut Fields<'_>) -> Result<Option<Cache>, Refused> {
    let Some(mut mark) = fields.object("cache_control")? else { return Ok(None) };
    mark.only("type", &["\"ephemeral\""], "is not known")?;
    let ttl = mark.string("ttl")?.map(Into::into);
    // Who shares the provider's cache.
    mark.leave_out(&["scope"]);
    mark.finish()?;
    Ok(Some(Cache { ttl, openai: false }))
}

fn source(fields: &mut Fields<'_>, kinds: &[&str]) -> Result<Source, Refused> {
    let mut source = fields.need_object("source")?;
    let kind = source.need_string("type")?;
    if !kinds.contains(&kind.as_ref()) {
        return Err(Refused::new(source.path("type"), format!("{kind:?} cannot be translated for this model")));
    }
    let result = match kind.as_ref() {
        "url" => Source::Url(source.need_string("url")?.into_owned()),
        "text" => {
            source.only("media_type", &["\"text/plain\""], "is not known")?;
            Source::Text(source.need_string("data")?.into_owned())
        }
        _ => Source::Base64 { media: media(&mut source)?, data: source.need_string("data")?.into_owned() },
    };
    source.finish()?;
    Ok(result)
}

fn media(source: &mut Fields<'_>) -> Result<String, Refused> {
    let media = source.need_string("media_type")?;
    if is_media(&media) {
        Ok(media.into_owned())
    } else {
        Err(Refused::new(source.path("media_type"), "is no media type"))
    }
}

fn document(fields: &mut Fields<'_>) -> Result<Body, Refused> {
    if let Some(mut citations) = fields.object("citations")? {
        citations.only("enabled", &["false"], "may only be false for this model")?;
        citations.finish()?;
    }
    Ok(Body::File {
        source: source(fields, &["base64", "url", "text"])?,
        name: fields.string("title")?.map(Into::into),
        context: fields.string("context")?.map(Into::into),
    })
}

fn tool_use(fields: &mut Fields<'_>) -> Result<Body, Refused> {
    let input = fields.raw_object("input")?.map_or("{}", RawValue::get);
    if let Some(mut caller) = fields.object("caller")? {
        caller.only("type", &["\"direct\""], "may only be direct for this model")?;
        caller.finish()?;
    }
    Ok(Body::ToolCall {
        id: upstreams_call_id(fields.need_string("id")?),
        name: fields.need_string("name")?.into_owned(),
        arguments: input.to_owned(),
    })
}

fn tool_result(fields: &mut Fields<'_>) -> Result<Body, Refused> {
    let path = fields.path("content");
    let content = match fields.take("content") {
        None => Vec::new(),
        Some(raw) if is_string(raw) => vec![Part::new(path.as_str(), Body::Text(text_at(&path, raw)?.into_owned()))],
        Some(raw) => {
            list_at(&path, raw)?.into_iter().map(|item| block(item, Place::Result)).collect::<Result<_, _>>()?
        }
    };
    Ok(Body::ToolResult {
        id: upstreams_call_id(fields.need_string("tool_use_id")?),
        content,
        is_error: fields.bool("is_error")?.unwrap_or_default(),
    })
}
