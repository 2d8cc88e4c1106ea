//! Canonical JSON, and the digest of a tool call: what a person approved is exactly what is sent.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// JSON with the fields of objects sorted by name and no spaces: equal values have equal texts.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (number, (name, field)) in names.into_iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                // Writing to memory cannot fail.
                let _ = write!(text, "{}:", Value::String(name.clone()));
                write(field, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

/// SHA-256 of a tool's name and its arguments, in hex.
pub fn digest(tool: &str, arguments: &Value) -> String {
    digest_of_text(tool, &canonical(arguments))
}

fn digest_of_text(tool: &str, arguments: &str) -> String {
    let mut hash = Sha256::new();
    // The length keeps `a` with `bc` apart from `ab` with `c`.
    hash.update((tool.len() as u64).to_be_bytes());
    hash.update(tool.as_bytes());
    hash.update(arguments.as_bytes());
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_have_equal_texts() {
        let one: Value = serde_json::from_str(r#"{"b": [1, {"y": "\n", "x": null}], "a": 1.50}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"a":1.5,"b":[1,{"x":null,"y":"\u000a"}]}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
        assert_eq!(canonical(&one), r#"{"a":1.5,"b":[1,{"x":null,"y":"\n"}]}"#);
        assert_eq!(digest("t", &one), digest("t", &two));
    }

    #[test]
    fn a_digest_is_of_tool_and_arguments() {
        let arguments = json!({"path": "/a"});
        let digests = [
            digest("delete", &arguments),
            digest("read", &arguments),
            digest("delete", &json!({"path": "/b"})),
            digest("delete", &json!({"path": "/a", "force": true})),
        ];
        for (number, one) in digests.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!digests[..number].contains(one));
        }
        assert_ne!(digest("a", &json!("bc")), digest("a\"b", &json!("c")));
    }
}
