//! Answers of people about tool calls: bound to exactly what was shown, and given once.

use cofferdam_contract::work::{Decide, EventType, TaskInfo, Verdict};
use cofferdam_contract::{Problem, TaskId};
use cofferdam_core::Caller;
use cofferdam_store::{NewEvent, ReceiptRow, ReceiptState, Settle, TaskRow, ToolResult, Write, Written};
use serde_json::{Value, json};

use crate::info::waits;
use crate::receipts::{canonical, digest};
use crate::steer::odd;
use crate::{Error, Tasks};

/// The longest note, in characters, and the longest arguments or result, in bytes.
const MAX_NOTE: usize = 2_000;
const MAX_GIVEN_BYTES: usize = 1 << 20;

/// The change of a receipt by a verdict.
struct Change {
    from: ReceiptState,
    to: ReceiptState,
    arguments: Option<(String, String)>,
    result: Option<ToolResult>,
}

impl Tasks {
    /// Answers a question about a tool call. Only the first answer counts, and only for the arguments that were shown.
    ///
    /// # Errors
    /// There is no such task or call; it is not asked about, or not any more; the digest is another's; the answer lacks something.
    pub async fn decide(&self, caller: &Caller, task: &TaskId, call: &str, answer: Decide) -> Result<TaskInfo, Error> {
        check(&answer)?;
        let row = self.row(caller, task).await?;
        let receipts = self.store.receipts(task).await?;
        let missing = || {
            Problem::not_found(format!(
                "The task {task} has no tool call with this id. GET /v1/tasks/{task}/approvals shows those that wait for an answer."
            ))
        };
        let receipt = receipts.iter().find(|receipt| receipt.call == call).ok_or_else(missing)?;
        if row.status.is_final() || !waits(receipt.state) {
            return Err(settled(&row, receipt).into());
        }
        if answer.digest.as_ref().is_some_and(|digest| *digest != receipt.digest) {
            return Err(stale(task).into());
        }
        let change = change(receipt, &answer)?;
        let event = json!({
            "call_id": call,
            "tool": receipt.tool,
            "verdict": answer.verdict,
            "note": answer.note,
            "decided_by": caller.key,
            "digest": change.arguments.as_ref().map_or(&receipt.digest, |(_, digest)| digest),
        });
        let settle = Settle {
            organization: caller.organization.clone(),
            task: task.clone(),
            call: call.to_owned(),
            from: vec![change.from],
            digest: Some(receipt.digest.clone()),
            to: change.to,
            arguments: change.arguments,
            result: change.result,
            decided_by: caller.key.clone(),
            note: answer.note.unwrap_or_default(),
            events: vec![NewEvent { kind: EventType::ApprovalSettled, data: event }],
        };
        match self.write(Write::Settle(Box::new(settle))).await? {
            Written::Done { .. } => self.get(caller, task).await,
            Written::Conflict { .. } => {
                let (row, receipts) = (self.row(caller, task).await?, self.store.receipts(task).await?);
                let receipt = receipts.iter().find(|receipt| receipt.call == call).ok_or_else(missing)?;
                Err(match waits(receipt.state) && !row.status.is_final() {
                    true => stale(task),
                    false => settled(&row, receipt),
                }
                .into())
            }
            other => Err(odd(task, &other).into()),
        }
    }
}

fn check(answer: &Decide) -> Result<(), Problem> {
    if answer.note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE) {
        return Err(Problem::invalid(format!("note: at most {MAX_NOTE} characters")));
    }
    for (field, given) in [("arguments", &answer.arguments), ("result", &answer.result)] {
        if given.as_ref().is_some_and(|given| given.to_string().len() > MAX_GIVEN_BYTES) {
            return Err(Problem::invalid(format!("{field}: at most 1 MiB of JSON")));
        }
    }
    if answer.arguments.is_some() != (answer.verdict == Verdict::Edit) {
        return Err(Problem::invalid("arguments: an object with the verdict `edit`, and absent with any other"));
    }
    if answer.arguments.as_ref().is_some_and(|arguments| !arguments.is_object()) {
        return Err(Problem::invalid("arguments: an object"));
    }
    if answer.result.is_some() != (answer.verdict == Verdict::Result) {
        return Err(Problem::invalid(
            "result: what the call gave, with the verdict `result`, and absent with any other",
        ));
    }
    Ok(())
}

fn change(receipt: &ReceiptRow, answer: &Decide) -> Result<Change, Problem> {
    use ReceiptState::{Approved, AwaitingApproval, Declined, Done, Retry, Unknown};
    let plain = |from, to| Change { from, to, arguments: None, result: None };
    let change = match answer.verdict {
        Verdict::Approve => plain(AwaitingApproval, Approved),
        Verdict::Decline => plain(AwaitingApproval, Declined),
        Verdict::Edit => {
            let arguments = answer.arguments.clone().unwrap_or(Value::Null);
            let edited = Some((canonical(&arguments), digest(&receipt.tool, &arguments)));
            Change { arguments: edited, ..plain(AwaitingApproval, Approved) }
        }
        Verdict::Retry => plain(Unknown, Retry),
        Verdict::Skip => {
            let mut text =
                "The outcome of this call is not known: it may have happened or not. A person chose to go on."
                    .to_owned();
            if let Some(note) = &answer.note {
                text.push_str(" Note: ");
                text.push_str(note);
            }
            Change { result: Some(ToolResult { text, value: None, is_error: true }), ..plain(Unknown, Done) }
        }
        Verdict::Result => {
            let value = answer.result.clone().unwrap_or(Value::Null);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Change { result: Some(ToolResult { text, value: Some(value), is_error: false }), ..plain(Unknown, Done) }
        }
    };
    match change.from == receipt.state {
        true => Ok(change),
        false if receipt.state == Unknown => Err(Problem::invalid(
            "verdict: the outcome of this call is unknown; answer `retry` (make it again), `skip`, or `result` with what it gave",
        )),
        false => Err(Problem::invalid(
            "verdict: this call was not made yet; answer `approve`, `decline`, or `edit` with other arguments",
        )),
    }
}

fn stale(task: &TaskId) -> Problem {
    Problem::conflict(format!(
        "The digest is not that of the call's arguments: they are others than those that were shown. Look again with GET \
         /v1/tasks/{task}/approvals."
    ))
}

fn settled(row: &TaskRow, receipt: &ReceiptRow) -> Problem {
    let by = match receipt.decided_by.as_str() {
        "" => String::new(),
        key => format!(" by the key {key}"),
    };
    let how = match receipt.state {
        ReceiptState::Expired => "the time for an answer is over",
        ReceiptState::AwaitingApproval | ReceiptState::Unknown => "the task has ended",
        ReceiptState::Declined => "it was declined",
        _ => "it was answered",
    };
    Problem::conflict(format!("This call does not wait for an answer: {how}{by}. The task is `{}`.", row.status.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(state: ReceiptState) -> ReceiptRow {
        ReceiptRow {
            task: TaskId::from_random(1),
            call: "c".into(),
            step: 1,
            place: 0,
            tool: "delete".into(),
            arguments: "{}".into(),
            digest: digest("delete", &json!({})),
            state,
            repeatable: false,
            result: None,
            child: None,
            message: String::new(),
            on_timeout: "decline".into(),
            expires_at_ms: None,
            decided_by: String::new(),
            note: String::new(),
            created_at_ms: 0,
            updated_at_ms: 0,
        }
    }

    fn answer(text: &str) -> Decide {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn verdicts_fit_the_question() {
        let (asked, unknown) = (receipt(ReceiptState::AwaitingApproval), receipt(ReceiptState::Unknown));
        for (text, of_asked, of_unknown) in [
            (r#"{"verdict": "approve"}"#, true, false),
            (r#"{"verdict": "decline", "note": "no"}"#, true, false),
            (r#"{"verdict": "edit", "arguments": {"a": 1}}"#, true, false),
            (r#"{"verdict": "retry"}"#, false, true),
            (r#"{"verdict": "skip"}"#, false, true),
            (r#"{"verdict": "result", "result": {"ok": true}}"#, false, true),
        ] {
            let answer = answer(text);
            check(&answer).unwrap();
            assert_eq!(
                (change(&asked, &answer).is_ok(), change(&unknown, &answer).is_ok()),
                (of_asked, of_unknown),
                "{text}"
            );
        }
        for text in [
            r#"{"verdict": "edit"}"#,
            r#"{"verdict": "edit", "arguments": "x"}"#,
            r#"{"verdict": "approve", "arguments": {}}"#,
            r#"{"verdict": "result"}"#,
            r#"{"verdict": "skip", "result": 1}"#,
        ] {
            assert!(check(&answer(text)).is_err(), "{text}");
        }
        let edited = change(&asked, &answer(r#"{"verdict": "edit", "arguments": {"b": 1, "a": 2}}"#)).unwrap();
        let (text, digest) = edited.arguments.unwrap();
        assert_eq!(text, r#"{"a":2,"b":1}"#);
        assert_ne!(digest, asked.digest);
    }
}
