//! A tool's answer as a model reads it: its content as text, bounded, without control characters and credentials.

use std::borrow::Cow;

use cofferdam_contract::work::ToolHints;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::clean::{Scrub, clean, clean_value};

/// The longest text of a result, in characters.
pub const MAX_RESULT_CHARACTERS: usize = 1 << 20;
/// The longest structured result, as JSON.
const MAX_STRUCTURED_BYTES: usize = 1 << 20;
/// The most pieces of content.
const MAX_BLOCKS: usize = 1_000;

/// A tool's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The content as text. Pictures, sound and files are named, not shown.
    pub text: String,
    pub structured: Option<Value>,
    /// The tool says that it failed.
    pub is_error: bool,
    /// Something was left out, because the result is too long.
    pub truncated: bool,
    /// The server's own claims about the tool.
    pub hints: ToolHints,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow, default)]
    content: Vec<&'a RawValue>,
    #[serde(borrow)]
    structured_content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    mime_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

/// Reads the result of `tools/call`. `None`: it is none.
pub(crate) fn read(json: &str, hints: ToolHints, scrub: &Scrub) -> Option<ToolResult> {
    let raw: Raw<'_> = serde_json::from_str(json).ok()?;
    let mut truncated = raw.content.len() > MAX_BLOCKS;
    let mut text = String::new();
    for block in raw.content.iter().take(MAX_BLOCKS) {
        if !text.is_empty() {
            text.push('\n');
        }
        match text.len() < MAX_RESULT_CHARACTERS {
            true => text.push_str(&block_text(block.get())),
            false => truncated = true,
        }
    }
    let text = scrub.text(clean(&text, usize::MAX));
    let cut: String = text.chars().take(MAX_RESULT_CHARACTERS).collect();
    truncated |= cut.len() < text.len();
    let structured = match raw.structured_content {
        Some(json) if json.get().len() <= MAX_STRUCTURED_BYTES => {
            let value = serde_json::from_str(&scrub.text(json.get().to_owned())).ok();
            value.filter(|value: &Value| !value.is_null()).map(|mut value| {
                clean_value(&mut value, scrub);
                value
            })
        }
        Some(_) => {
            truncated = true;
            None
        }
        None => None,
    };
    Some(ToolResult { text: cut, structured, is_error: raw.is_error.unwrap_or_default(), truncated, hints })
}

fn block_text(json: &str) -> String {
    let Ok(block) = serde_json::from_str::<Block<'_>>(json) else {
        return "[content that cannot be read]".to_owned();
    };
    let mime = block.mime_type.as_deref().unwrap_or("of an unknown type");
    match (block.kind.as_ref(), block.text, block.resource) {
        ("text", Some(text), _) => text.into_owned(),
        ("resource", _, Some(resource)) => match serde_json::from_str::<Block<'_>>(resource.get()) {
            Ok(Block { text: Some(text), .. }) => text.into_owned(),
            Ok(other) => format!("[resource {}, not shown]", other.uri.as_deref().unwrap_or_default()),
            Err(_) => "[content that cannot be read]".to_owned(),
        },
        ("resource_link", ..) => format!("[resource {}]", block.uri.as_deref().unwrap_or_default()),
        (kind @ ("image" | "audio"), ..) => {
            let bytes = block.data.map_or(0, |data| data.get().len().saturating_sub(2) / 4 * 3);
            format!("[{kind} {mime}, about {bytes} bytes, not shown]")
        }
        _ => "[content of an unknown kind, not shown]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_becomes_text() {
        let json = r#"{"content":[{"type":"text","text":"a\u001b[0m canary-0123"},{"type":"image","data":"QUJD","mimeType":"image/png"},
            {"type":"resource","resource":{"uri":"x:y","text":"body"}},{"type":"resource_link","uri":"f:z","name":"n"},{"type":7}],
            "structuredContent":{"k":"can\u200bary-0123","h\u200b":["\udb40\udc49\u001b[8m!"]},"isError":true}"#;
        let result = read(json, ToolHints::default(), &Scrub::new(["canary-0123"])).unwrap();
        let expected = "a[0m [key]\n[image image/png, about 3 bytes, not shown]\nbody\n[resource f:z]\n[content that cannot be read]";
        assert_eq!(result.text, expected);
        assert_eq!(result.structured.unwrap(), serde_json::json!({"k": "[key]", "h": ["[8m!"]}));
        assert!(result.is_error && !result.truncated);
        assert!(read("[]", ToolHints::default(), &Scrub::default()).is_none());
        let long = format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(MAX_RESULT_CHARACTERS + 1));
        assert!(read(&long, ToolHints::default(), &Scrub::default()).unwrap().truncated);
    }
}
