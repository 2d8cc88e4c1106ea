//! Descriptions and schemas in a form that providers of models take: bounded, an object at the top, no references to other
//! documents, names of fields that they know. What has to go is said in the description; a tool checks its arguments itself.

use cofferdam_contract::text::is_invisible;
use serde_json::{Map, Value, json};

/// Characters of a description: OpenAI takes no more.
const MAX_DESCRIPTION: usize = 1_024;
/// The size of one tool's schema, in bytes.
const MAX_SCHEMA_BYTES: usize = 16 << 10;
const MAX_DEPTH: usize = 24;
const MAX_FIELD_NAME: usize = 64;

/// A description without what is not seen, in its first characters.
pub(super) fn description(text: &str) -> String {
    let seen = |c: &char| matches!(c, '\n' | '\t') || (!c.is_control() && !is_invisible(*c));
    let mut shown: String = text.trim().chars().filter(seen).take(MAX_DESCRIPTION + 1).collect();
    if shown.chars().count() > MAX_DESCRIPTION {
        shown = shown.chars().take(MAX_DESCRIPTION - 3).collect();
        shown.push_str("...");
    }
    shown
}

/// A schema that providers take. One that is too large or too deep becomes an object with any fields.
pub(super) fn parameters(schema: Value) -> Value {
    let Value::Object(mut top) = schema else { return open() };
    for word in ["$schema", "$id", "$anchor", "title", "$vocabulary", "$comment"] {
        top.remove(word);
    }
    // Alternatives at the top are refused by providers; the tool itself checks them.
    for word in ["oneOf", "anyOf", "allOf", "not", "if", "then", "else", "enum", "const"] {
        top.remove(word);
    }
    top.insert("type".to_owned(), "object".into());
    if !top.get("properties").is_some_and(Value::is_object) {
        top.insert("properties".to_owned(), json!({}));
    }
    let mut value = Value::Object(top);
    if !tidy(&mut value, 0) {
        return open();
    }
    if value.to_string().len() > MAX_SCHEMA_BYTES {
        strip(&mut value);
    }
    if value.to_string().len() > MAX_SCHEMA_BYTES { open() } else { value }
}

/// An object with any fields.
fn open() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": true })
}

/// False: it is too deep, or leads to another document.
fn tidy(value: &mut Value, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    match value {
        Value::Object(map) => {
            if map.get("$ref").and_then(Value::as_str).is_some_and(|to| !to.starts_with('#')) {
                return false;
            }
            if let Some(text) = map.get("description").and_then(Value::as_str).map(description) {
                map.insert("description".to_owned(), text.into());
            }
            fields(map);
            map.values_mut().all(|value| tidy(value, depth + 1))
        }
        Value::Array(items) => items.iter_mut().all(|item| tidy(item, depth + 1)),
        _ => true,
    }
}

/// Takes out fields whose names Anthropic refuses. They are named in words, and may still be sent.
fn fields(map: &mut Map<String, Value>) {
    let fits = |name: &str| {
        (1..=MAX_FIELD_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) else { return };
    let odd: Vec<String> = properties.keys().filter(|name| !fits(name)).cloned().collect();
    if odd.is_empty() {
        return;
    }
    properties.retain(|name, _| fits(name));
    if let Some(required) = map.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name.as_str().is_some_and(fits));
    }
    map.remove("additionalProperties");
    let said = map.get("description").and_then(Value::as_str).unwrap_or_default();
    let named = odd.iter().take(16).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let said = description(&format!("{said}\nFurther fields: {named}."));
    map.insert("description".to_owned(), said.into());
}

/// Takes the words out, and leaves the shape.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for word in ["description", "title", "examples", "default", "$comment"] {
                // An object is a field of that name.
                if map.get(word).is_some_and(|value| !value.is_object()) {
                    map.remove(word);
                }
            }
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_become_objects_that_providers_take() {
        for (schema, expected) in [
            (json!(null), open()),
            (json!({"oneOf": [{"type": "object"}], "$schema": "x"}), json!({"type": "object", "properties": {}})),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "description": "x\u{200b}y"}}, "required": ["a"]}),
                json!({"type": "object", "properties": {"a": {"type": "string", "description": "xy"}}, "required": ["a"]}),
            ),
            (json!({"properties": {"a": {"$ref": "https://evil.example/x"}}}), open()),
            (
                json!({"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}),
                json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}),
            ),
        ] {
            assert_eq!(parameters(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn odd_names_are_said_in_words() {
        let shaped = parameters(json!({"properties": {"a b": {"type": "string"}, "c": {}}, "required": ["a b", "c"]}));
        assert_eq!(shaped["properties"], json!({"c": {}}));
        assert_eq!(shaped["required"], json!(["c"]));
        assert!(shaped["description"].as_str().unwrap().contains("\"a b\""));
    }

    #[test]
    fn what_is_too_large_loses_its_words_first() {
        let long = "w".repeat(900);
        let many: Map<String, Value> =
            (0..40).map(|at| (format!("f{at}"), json!({"type": "string", "description": long}))).collect();
        let shaped = parameters(json!({ "properties": many }));
        assert_eq!(shaped["properties"]["f1"], json!({"type": "string"}));
        let many: Map<String, Value> = (0..4_000).map(|at| (format!("f{at}"), json!({"type": "string"}))).collect();
        assert_eq!(parameters(json!({ "properties": many })), open());
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({ "properties": {"a": deep} });
        }
        assert_eq!(parameters(deep), open());
        assert_eq!(description(&"d".repeat(5_000)).chars().count(), 1_024);
    }
}
