//! Rules that every writer has to agree on: names for things that one dialect names and another does not, and the labels that
//! change nothing in an answer. `docs/models.md` has the table of all rules.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::error::Refused;
use crate::json::Object;
use crate::request::{Cache, Request, Source};

/// Names a schema of Messages, which has no name, in OpenAI's dialects, which want one.
pub(crate) const SCHEMA_NAME: &str = "answer";
/// Names a document without a name.
pub(crate) const FILE_NAME: &str = "document.pdf";
/// Longest `user` that OpenAI's dialects are told; longer ones are left out.
const MAX_USER_CHARS: usize = 64;

/// The URL of a source, `data:` for contents.
pub(crate) fn url(source: &Source) -> Option<Cow<'_, str>> {
    match source {
        Source::Url(url) => Some(Cow::Borrowed(url)),
        Source::Base64 { media, data } => Some(Cow::Owned(format!("data:{};base64,{data}", self::media(media)))),
        Source::Text(_) => None,
    }
}

/// A failed tool's text, for dialects that have no `is_error`.
pub(crate) fn error_text(text: &str) -> Cow<'_, str> {
    let begins = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"));
    if begins { Cow::Borrowed(text) } else { Cow::Owned(format!("Error: {text}")) }
}

/// A plain text document as text, for dialects that have no such documents.
pub(crate) fn document_text(text: &str, title: Option<&str>, context: Option<&str>) -> String {
    let heads = [title, context].into_iter().flatten().map(|head| format!("{head}\n\n"));
    heads.chain([text.to_owned()]).collect()
}

/// OpenAI's mark for its cache. Messages' marks are left out there, because these upstreams cache by themselves.
pub(crate) fn breakpoint(o: &mut Object<'_>, cache: Option<&Cache>) {
    if let Some(Cache { ttl, openai: true }) = cache {
        o.object("prompt_cache_breakpoint", |o| {
            o.string("mode", "explicit");
            if let Some(ttl) = ttl {
                o.string("ttl", ttl);
            }
        });
    }
}

/// Writes what the two OpenAI dialects name alike: tiers, users, labels, cache keys.
pub(crate) fn openai_labels(o: &mut Object<'_>, request: &Request) {
    let from_messages = request.source == Dialect::Messages;
    match request.service_tier.as_deref() {
        Some("standard_only") if from_messages => o.string("service_tier", "default"),
        Some(tier) => o.string("service_tier", tier),
        None => {}
    }
    let short = |text: &&String| !from_messages || text.chars().count() <= MAX_USER_CHARS;
    for (key, value) in [
        ("user", request.user.as_ref().filter(short)),
        ("safety_identifier", request.safety_identifier.as_ref()),
        ("prompt_cache_key", request.prompt_cache_key.as_ref()),
        ("prompt_cache_retention", request.prompt_cache_retention.as_ref()),
    ] {
        if let Some(value) = value {
            o.string(key, value);
        }
    }
    if let Some(metadata) = &request.metadata {
        o.raw("metadata", metadata);
    }
}

/// The tier in Messages' words.
pub(crate) fn messages_tier(request: &Request) -> Result<Option<&'static str>, Refused> {
    match request.service_tier.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some("auto")),
        Some("default" | "standard_only") => Ok(Some("standard_only")),
        Some(_) => Err(Refused::new("service_tier", "may only be auto or default for this model")),
    }
}

/// Begins an id of a tool call that was written anew for Messages.
const ID_MARK: &str = "cf1-";

/// An id of a tool call as Messages takes it: letters, digits, `-` and `_`. One with other bytes is marked, and these bytes and
/// `_` become `_` and two digits, so that [`upstreams_call_id`] finds the id that the upstream gave.
pub(crate) fn messages_call_id(id: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.bytes().all(plain) {
        return Cow::Borrowed(id);
    }
    let mut safe = String::with_capacity(id.len() + 16);
    safe.push_str(ID_MARK);
    for byte in id.bytes() {
        match plain(byte) && byte != b'_' {
            true => safe.push(char::from(byte)),
            false => safe.push_str(&format!("_{byte:02x}")),
        }
    }
    Cow::Owned(safe)
}

/// The id that an upstream gave to a call, out of the one that a client of Messages sends back.
pub(crate) fn upstreams_call_id(id: Cow<'_, str>) -> String {
    let original = || {
        let mut pieces = id.strip_prefix(ID_MARK)?.split('_');
        let mut bytes = pieces.next()?.as_bytes().to_vec();
        for piece in pieces {
            let (digits, rest) = piece.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            bytes.extend_from_slice(rest.as_bytes());
        }
        String::from_utf8(bytes).ok().filter(|original| messages_call_id(original) == id)
    };
    original().unwrap_or_else(|| id.into_owned())
}

/// Splits `data:MEDIA;base64,DATA`.
pub(crate) fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media = head.strip_suffix(";base64")?;
    // Parameters such as `;charset=utf-8` have no place in the other dialects.
    let media = media.split(';').next().unwrap_or(media);
    is_media(media).then_some((media, data))
}

/// A media type that can stand in a `data:` URL and be read out of it again.
pub(crate) fn is_media(media: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'+' | b'-' | b'_');
    media.bytes().all(plain) && media.split('/').filter(|half| !half.is_empty()).count() == 2
}

/// The right name of a media type that clients like to write wrongly.
pub(crate) fn media(media: &str) -> &str {
    if media.eq_ignore_ascii_case("image/jpg") { "image/jpeg" } else { media }
}

/// A penalty that is none.
pub(crate) fn is_zero(value: &RawValue) -> bool {
    serde_json::from_str::<f64>(value.get()).is_ok_and(|value| value == 0.0)
}
