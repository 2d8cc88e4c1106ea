//! Questions to a person about a tool call: whether it may be made, or what became of one whose outcome is unknown. An answer is
//! bound to what was shown, by its digest.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Server, read, segment};
use crate::terminal::{json_line, note};

/// The longest arguments that are shown in a question, in characters.
const MAX_SHOWN: usize = 4_000;

/// The part of a question that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Verdict,
    /// Other arguments, as JSON.
    Arguments,
    /// A call's result, as JSON or text.
    Result,
}

/// A question about a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub(super) call: (String, String),
    asked: Value,
    stage: Stage,
    unknown: bool,
}

/// The effect of a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Choice {
    Answer(Value),
    Again(Question),
}

/// A call with its arguments, in one line.
pub(crate) fn shown(asked: &Value) -> String {
    let tool = asked.get("tool").and_then(Value::as_str).unwrap_or_default();
    let arguments = json_line(&asked.get("arguments").cloned().unwrap_or_default().to_string());
    let count = arguments.chars().count();
    if count <= MAX_SHOWN {
        return format!("{tool} {arguments}");
    }
    let begin: String = arguments.chars().take(MAX_SHOWN).collect();
    format!("{tool} {begin} [and {} more characters]", count - MAX_SHOWN)
}

/// Sends the answer.
pub(crate) async fn send(server: &Server, call: &(String, String), body: &Value) -> anyhow::Result<Value> {
    let path = format!("/v1/tasks/{}/approvals/{}", segment(&call.0), segment(&call.1));
    read(&server.send(Method::POST, &path, serde_json::to_vec(body)?).await?)
}

impl Question {
    pub(super) fn new(call: (String, String), asked: Value) -> Self {
        let unknown = asked.get("unknown_outcome").and_then(Value::as_bool).unwrap_or(false);
        Self { call, asked, stage: Stage::Verdict, unknown }
    }

    fn message(&self) -> &str {
        self.asked.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// Puts it to the person.
    pub(super) fn put(&self) {
        match self.stage {
            Stage::Verdict => {
                let kind =
                    if self.unknown { "the outcome of this call is unknown" } else { "this call needs approval" };
                note!("{kind}: {}", shown(&self.asked));
                if !self.message().is_empty() {
                    note!("  {}", self.message());
                }
                match self.unknown {
                    false => note!("[y] approve   [n] decline (n REASON)   [e] edit its arguments"),
                    true => note!("[r] make it again   [s] skip it   [g] give its result"),
                }
            }
            Stage::Arguments => note!("the arguments instead, as JSON in one line (empty: back):"),
            Stage::Result => note!("its result, as JSON or text in one line (empty: back):"),
        }
    }

    /// Tells how to answer it with a command.
    pub(super) fn tell(&self) {
        let (task, call) = &self.call;
        match self.unknown {
            false => {
                note!("this call needs approval: {}", shown(&self.asked));
                note!("  cofferdam task approve {task} {call}    or    cofferdam task decline {task} {call}");
            }
            true => {
                note!("the outcome of this call is unknown: {}", shown(&self.asked));
                note!("  cofferdam task decide {task} {call} retry    or skip, or result --value JSON");
            }
        }
        if !self.message().is_empty() {
            note!("  {}", self.message());
        }
    }

    fn at(&self, stage: Stage) -> Choice {
        Choice::Again(Self { stage, ..self.clone() })
    }

    fn verdict(&self, verdict: &str) -> Value {
        let mut body = json!({ "verdict": verdict });
        if let (Some(digest), Some(body)) = (self.asked.get("digest"), body.as_object_mut()) {
            body.insert("digest".to_owned(), digest.clone());
        }
        body
    }

    fn with(&self, verdict: &str, field: &str, value: Value) -> Choice {
        let mut body = self.verdict(verdict);
        if let Some(body) = body.as_object_mut() {
            body.insert(field.to_owned(), value);
        }
        Choice::Answer(body)
    }

    /// Reads an answer.
    pub(super) fn answer(&self, line: &str) -> Choice {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match self.stage {
            Stage::Verdict if self.unknown => match line {
                "r" | "retry" => Choice::Answer(self.verdict("retry")),
                "s" | "skip" => Choice::Answer(self.verdict("skip")),
                "g" | "give" => self.at(Stage::Result),
                _ => self.at(Stage::Verdict),
            },
            Stage::Verdict => match word {
                "y" | "yes" if rest.is_empty() => Choice::Answer(self.verdict("approve")),
                "n" | "no" if rest.is_empty() => Choice::Answer(self.verdict("decline")),
                "n" | "no" => self.with("decline", "note", rest.trim().into()),
                "e" | "edit" => self.at(Stage::Arguments),
                _ => self.at(Stage::Verdict),
            },
            Stage::Arguments | Stage::Result if line.is_empty() => self.at(Stage::Verdict),
            Stage::Arguments => match serde_json::from_str::<Value>(line) {
                Ok(arguments @ Value::Object(_)) => self.with("edit", "arguments", arguments),
                Ok(_) => {
                    note!("the arguments are an object, such as {{\"path\": \"/tmp\"}}");
                    self.at(Stage::Arguments)
                }
                Err(error) => {
                    note!("this is not JSON: {error}");
                    self.at(Stage::Arguments)
                }
            },
            Stage::Result => {
                let result = serde_json::from_str(line).unwrap_or_else(|_| line.into());
                self.with("result", "result", result)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(unknown: bool) -> Question {
        let asked = json!({"tool": "rm", "arguments": {"path": "/a"}, "digest": "d", "unknown_outcome": unknown});
        Question::new(("task_1".into(), "1-1".into()), asked)
    }

    fn sent(choice: Choice) -> Option<Value> {
        match choice {
            Choice::Answer(body) => Some(body),
            Choice::Again(_) => None,
        }
    }

    #[test]
    fn an_answer_is_bound_to_what_was_shown() {
        let question = question(false);
        assert_eq!(sent(question.answer("y\n")), Some(json!({"verdict": "approve", "digest": "d"})));
        let no = json!({"verdict": "decline", "digest": "d", "note": "not that one"});
        assert_eq!(sent(question.answer("n  not that one")), Some(no));
        // Neither an empty line nor a word that begins like one is consent.
        for other in ["", "\n", "Y", "yess", "y please", "r", "approve"] {
            assert_eq!(sent(question.answer(other)), None, "{other:?}");
        }
    }

    #[test]
    fn arguments_are_edited_as_json() {
        let Choice::Again(edit) = question(false).answer("e") else { unreachable!() };
        let body = json!({"verdict": "edit", "digest": "d", "arguments": {"path": "/b"}});
        assert_eq!(sent(edit.answer(r#"{"path": "/b"}"#)), Some(body));
        for wrong in ["{", "5", "[]"] {
            assert_eq!(edit.answer(wrong), Choice::Again(edit.clone()), "{wrong}");
        }
        assert_eq!(edit.answer(""), Choice::Again(question(false)));
    }

    #[test]
    fn an_unknown_outcome_is_decided() {
        let question = question(true);
        assert_eq!(sent(question.answer("r")), Some(json!({"verdict": "retry", "digest": "d"})));
        assert_eq!(sent(question.answer("y")), None);
        let Choice::Again(result) = question.answer("g") else { unreachable!() };
        assert_eq!(sent(result.answer("5")), Some(json!({"verdict": "result", "digest": "d", "result": 5})));
        assert_eq!(sent(result.answer("it is done")).map(|body| body["result"].clone()), Some("it is done".into()));
    }

    #[test]
    fn a_question_shows_what_a_terminal_would_obey() {
        let asked = json!({"tool": "rm", "arguments": {"path": "/a\u{202e}b\u{1b}[2J"}});
        assert_eq!(shown(&asked), "rm {\"path\":\"/a\\u202eb\\u001b[2J\"}");
        let long = json!({"tool": "w", "arguments": {"text": "x".repeat(MAX_SHOWN * 2)}});
        assert!(shown(&long).ends_with("more characters]"));
    }
}
