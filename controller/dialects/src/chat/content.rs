//! The parts of a chat message's content, from their list or text into the neutral form. Never decides what an upstream takes.

use crate::error::Refused;
use crate::fields::{Fields, Item, is_string, list_at, text_at};
use crate::request::{Body, Cache, Part, Seal, Source};
use crate::rules::data_url;
use serde_json::value::RawValue;

/// Reads `content`: a text, or a list of parts.
pub(crate) fn parts(at: &str, raw: &RawValue) -> Result<(Vec<Part>, bool), Refused> {
    parts_by(at, raw, part)
}

/// Reads a text, or a list of parts of which each is read by `part`. True for a text.
pub(crate) fn parts_by(
    at: &str,
    raw: &RawValue,
    part: impl FnMut(Item<'_>) -> Result<Part, Refused>,
) -> Result<(Vec<Part>, bool), Refused> {
    if is_string(raw) {
        return Ok((vec![Part::new(at, Body::Text(text_at(at, raw)?.into_owned()))], true));
    }
    let parts = list_at(at, raw)?.into_iter().map(part).collect::<Result<_, _>>()?;
    Ok((parts, false))
}

fn part(item: Item<'_>) -> Result<Part, Refused> {
    let mut fields = Fields::read(item.at.clone(), item.raw)?;
    let kind = fields.need_string("type")?;
    let body = match kind.as_ref() {
        "text" => Body::Text(fields.need_string("text")?.into_owned()),
        "refusal" => Body::Refusal(fields.need_string("refusal")?.into_owned()),
        "image_url" => image(&mut fields)?,
        "file" => file(&mut fields)?,
        _ => return Err(Refused::new(fields.path("type"), format!("{kind:?} cannot be translated for this model"))),
    };
    let cache = cache(&mut fields)?;
    fields.finish()?;
    Ok(Part { at: item.at, cache, body })
}

fn image(fields: &mut Fields<'_>) -> Result<Body, Refused> {
    let mut image = fields.need_object("image_url")?;
    let source = source(&image.need_string("url")?);
    let detail = image.string("detail")?.map(Into::into);
    image.finish()?;
    Ok(Body::Image { source, detail })
}

fn file(fields: &mut Fields<'_>) -> Result<Body, Refused> {
    let mut file = fields.need_object("file")?;
    let data = file.need_string("file_data")?;
    let Some((media, data)) = data_url(&data) else {
        return Err(Refused::new(file.path("file_data"), "has to be a URL that begins with data: and says base64"));
    };
    let name = file.string("filename")?.map(Into::into);
    file.finish()?;
    Ok(Body::File { source: Source::Base64 { media: media.into(), data: data.into() }, name, context: None })
}

/// The source of a URL: what it holds, or the URL.
pub(crate) fn source(url: &str) -> Source {
    match data_url(url) {
        Some((media, data)) => Source::Base64 { media: media.to_owned(), data: data.to_owned() },
        None => Source::Url(url.to_owned()),
    }
}

/// Reads OpenAI's `prompt_cache_breakpoint`, or `cache_control`, which several gateways take in chat requests.
pub(crate) fn cache(fields: &mut Fields<'_>) -> Result<Option<Cache>, Refused> {
    if let Some(mut mark) = fields.object("prompt_cache_breakpoint")? {
        mark.only("mode", &["\"explicit\""], "is not known")?;
        let ttl = mark.string("ttl")?.map(Into::into);
        mark.finish()?;
        return Ok(Some(Cache { ttl, openai: true }));
    }
    let Some(mut mark) = fields.object("cache_control")? else { return Ok(None) };
    mark.only("type", &["\"ephemeral\""], "is not known")?;
    let ttl = mark.string("ttl")?.map(Into::into);
    mark.finish()?;
    Ok(Some(Cache { ttl, openai: false }))
}

/// Reads `thinking_blocks`, and `reasoning_content` or `reasoning` where there are none.
pub(crate) fn thinking(fields: &mut Fields<'_>) -> Result<Vec<Part>, Refused> {
    let mut parts = Vec::new();
    for item in fields.list("thinking_blocks")?.unwrap_or_default() {
        let mut block = Fields::read(item.at.clone(), item.raw)?;
        let kind = block.need_string("type")?;
        let body = match kind.as_ref() {
            "thinking" => Body::Thinking {
                text: block.string("thinking")?.unwrap_or_default().into_owned(),
                seal: Seal::of_signature(&block.string("signature")?.unwrap_or_default()),
            },
            "redacted_thinking" => {
                Body::Thinking { text: String::new(), seal: Seal::of_redacted(&block.need_string("data")?) }
            }
            _ => return Err(Refused::new(block.path("type"), "is not known")),
        };
        // The position that the pieces of a stream had.
        block.leave_out(&["index"]);
        block.finish()?;
        parts.push(Part::new(item.at, body));
    }
    let texts = [fields.string("reasoning_content")?, fields.string("reasoning")?];
    let text = texts.into_iter().flatten().find(|text| !text.is_empty());
    if let (Some(text), true) = (text, parts.is_empty()) {
        let at = fields.path("reasoning_content");
        parts.push(Part::new(at, Body::Thinking { text: text.into_owned(), seal: Seal::Open }));
    }
    // The same once more, as OpenRouter names it.
    fields.leave_out(&["reasoning_details"]);
    Ok(parts)
}
