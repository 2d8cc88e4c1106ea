//! Descriptions of types and values for messages about arguments. Bounded, whatever they quote.

use super::shape::{Kind, Parts};

const MAX_QUOTED_CHARS: usize = 60;
const MAX_NAMES: usize = 12;

/// The text, cut to at most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The text, cut to the length that a message quotes.
pub(super) fn quoted(text: &str) -> String {
    shortened(text, MAX_QUOTED_CHARS)
}

/// A JSON value for a message.
pub(super) fn found(json: &str) -> String {
    match json.as_bytes().first() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "an array".to_owned(),
        _ => quoted(json),
    }
}

/// The names of the parts, cut to the first ones.
pub(super) fn known(parts: &Parts) -> String {
    if parts.is_empty() {
        return "none".to_owned();
    }
    let mut names: Vec<String> = parts.iter().take(MAX_NAMES).map(|part| quoted(&format!("{:?}", part.name))).collect();
    if parts.len() > MAX_NAMES {
        names.push("...".to_owned());
    }
    names.join(", ")
}

/// The value that would fit.
pub(super) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Int(int) => {
            let (least, most) = int.range();
            format!("an integer from {least} to {most}")
        }
        Kind::Float32 => "a number of 32 bits".to_owned(),
        Kind::Float64 => "a number".to_owned(),
        Kind::Char => "a string of one character".to_owned(),
        Kind::String => "a string".to_owned(),
        Kind::Bytes => "bytes: a string in base64, or an array of numbers from 0 to 255".to_owned(),
        Kind::List(_) => "an array".to_owned(),
        Kind::Tuple(types) => format!("an array of {}", types.len()),
        Kind::Record(fields) if fields.is_empty() => "an empty object".to_owned(),
        Kind::Record(fields) => format!("an object with {}", known(fields)),
        Kind::Variant(cases) => {
            format!("one of {}: a string, or an object with that property for a case with a value", known(cases))
        }
        Kind::Enum(cases) => format!("one of {}", known(cases)),
        Kind::Flags(flags) => format!("an array out of {}", known(flags)),
        Kind::Option(inner) => format!("null or {}", expected(&inner.kind)),
        Kind::Wrapped(_) => "{\"some\": value}".to_owned(),
        Kind::Result { .. } => "{\"ok\": value} or {\"err\": value}".to_owned(),
    }
}
