//! Structured answers: how the model is told the form, whether an answer has it, and what is said when it does not. Pure; the loop
//! decides how often it asks again.

use serde_json::Value;

use crate::schema::{Fault, Schema};

/// The form of the answer, for the instructions.
pub(crate) fn instructions(schema: &Value) -> String {
    format!(
        "Your final answer is read by a program. It is one JSON document that fits this JSON Schema, and nothing else: no words \
         before or after it, no code fence.\n{schema}"
    )
}

/// Checks that a schema can be used for answers.
///
/// # Errors
/// The place and the reason.
pub(crate) fn check(schema: &Value) -> Result<(), String> {
    Schema::new(schema).map(|_| ())
}

/// Reads an answer that has to fit a schema.
///
/// # Errors
/// The notice for the model: what is wrong, and what to do.
pub(crate) fn read(schema: &Value, answer: &str) -> Result<Value, String> {
    let schema = Schema::new(schema).map_err(|why| format!("The output schema itself cannot be used: {why}"))?;
    let mut closest: Option<Vec<Fault>> = None;
    for value in candidates(answer) {
        let faults = schema.check(&value);
        if faults.is_empty() {
            return Ok(value);
        }
        closest.get_or_insert(faults);
    }
    // An answer in plain words, where plain words are asked for.
    let words = Value::String(answer.trim().to_owned());
    if closest.is_none() && !answer.trim().is_empty() && schema.check(&words).is_empty() {
        return Ok(words);
    }
    let wrong = match closest {
        Some(faults) => faults.iter().map(|fault| format!("- {fault}")).collect::<Vec<_>>().join("\n"),
        None => "- it is not one JSON document".to_owned(),
    };
    Err(format!(
        "Your answer does not have the form that is asked for:\n{wrong}\nAnswer again, with the whole JSON document and nothing else."
    ))
}

/// The JSON documents that an answer may mean: all of it, what is in a code fence, what is between the outermost braces.
fn candidates(answer: &str) -> Vec<Value> {
    let text = answer.trim();
    // One document is what it is: nothing within it is the answer.
    if let Ok(whole) = serde_json::from_str::<Value>(text) {
        return vec![whole];
    }
    let fenced = text.split_once("```").and_then(|(_, rest)| {
        let (head, body) = rest.split_once('\n')?;
        let (body, _) = body.rsplit_once("```")?;
        head.trim().bytes().all(|b| b.is_ascii_alphanumeric()).then_some(body)
    });
    let between = |open: char, close: char| {
        let (from, to) = (text.find(open)?, text.rfind(close)?);
        text.get(from..=to)
    };
    let tried = [fenced, between('{', '}'), between('[', ']')];
    let mut found: Vec<Value> = Vec::new();
    for text in tried.into_iter().flatten() {
        if let Ok(value) = serde_json::from_str::<Value>(text)
            && !found.contains(&value)
        {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn person(answer: &str) -> Result<Value, String> {
        let schema = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}});
        read(&schema, answer)
    }

    #[test]
    fn an_answer_is_found_where_models_put_it() {
        for answer in [
            r#"{"name": "Ada"}"#,
            "  {\"name\":\"Ada\"}\n",
            "```json\n{\"name\": \"Ada\"}\n```",
            "```\n{\"name\": \"Ada\"}\n```",
            "Here it is:\n```json\n{\"name\": \"Ada\"}\n```\nAnything else?",
            "Sure! {\"name\": \"Ada\"} Done.",
        ] {
            assert_eq!(person(answer), Ok(json!({"name": "Ada"})), "{answer}");
        }
    }

    #[test]
    fn a_bad_answer_is_told_what_is_wrong() {
        for (answer, says) in [
            ("I do not know", "it is not one JSON document"),
            ("", "it is not one JSON document"),
            ("{}", "the field \"name\" is missing"),
            (r#"{"name": "Ada", "age": "36"}"#, "/age: expected integer, got string"),
            (r#"[{"name": "Ada"}, 5]"#, "expected object, got array"),
            (r#"{"name": "Ada""#, "it is not one JSON document"),
            (&"[".repeat(100_000), "it is not one JSON document"),
        ] {
            let notice = person(answer).unwrap_err();
            assert!(notice.contains(says) && notice.len() < 4_000, "{notice}");
        }
    }

    #[test]
    fn other_forms_than_objects() {
        for (schema, answer, value) in [
            (json!({"type": "string"}), "plain words", json!("plain words")),
            (json!({"type": "string"}), "\"quoted\"", json!("quoted")),
            (json!({"type": "array"}), "The list: [1, 2].", json!([1, 2])),
            (json!({"type": "integer"}), "42", json!(42)),
            (json!({"enum": ["yes", "no"]}), "yes", json!("yes")),
        ] {
            assert_eq!(read(&schema, answer), Ok(value), "{answer}");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_named() {
        assert!(check(&json!({"type": "list"})).unwrap_err().starts_with("#/type"));
        assert!(read(&json!({"type": "list"}), "1").unwrap_err().contains("cannot be used"));
        assert!(instructions(&json!({"type": "object"})).contains(r#"{"type":"object"}"#));
    }
}
