//! Custom tools of the two OpenAI dialects, whose input is a plain text. For upstreams of other dialects they are functions
//! with one text, `input`; what the model calls them with is given to the caller as the text that it expects.
//!
//! A grammar is told to the model in the description. It is not enforced.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::error::Refused;
use crate::fields::Fields;
use crate::json;
use crate::request::Tool;

/// A custom tool as the caller wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Custom {
    pub(crate) name: String,
    pub(crate) written: Box<RawValue>,
}

const SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// Reads `name`, `description` and `format`, and makes a function of them.
pub(crate) fn tool(fields: &mut Fields<'_>) -> Result<Tool, Refused> {
    let name = fields.need_string("name")?.into_owned();
    let mut description = fields.string("description")?.unwrap_or_default().into_owned();
    if let Some(mut format) = fields.object("format")? {
        match format.need_string("type")?.as_ref() {
            "text" => {}
            "grammar" => {
                // Chat has the grammar in an object of its own, Responses beside the type.
                let mut inner = format.object("grammar")?;
                let grammar = inner.as_mut().unwrap_or(&mut format);
                let (syntax, definition) = (grammar.need_string("syntax")?, grammar.need_string("definition")?);
                description.push_str(&format!("\n\n`input` has to match this {syntax} grammar:\n\n{definition}"));
                if let Some(inner) = inner {
                    inner.finish()?;
                }
            }
            _ => return Err(Refused::new(format.path("type"), "is not known")),
        }
        format.finish()?;
    }
    let description = (!description.is_empty()).then_some(description);
    let parameters = RawValue::from_string(SCHEMA.to_owned()).ok();
    Ok(Tool { name, description, parameters, strict: None, cache: None })
}

/// The arguments that stand for a custom tool's input.
pub(crate) fn arguments(input: &str) -> String {
    let mut out = Vec::with_capacity(input.len() + 16);
    json::object(&mut out, |o| o.string("input", input));
    String::from_utf8(out).unwrap_or_default()
}

/// The input that a model's arguments hold. Arguments of another form are passed as they are.
pub(crate) fn input(arguments: &str) -> Cow<'_, str> {
    let input = Fields::tolerant(arguments.as_bytes()).and_then(|mut fields| fields.text("input"));
    input.unwrap_or(Cow::Borrowed(arguments))
}
