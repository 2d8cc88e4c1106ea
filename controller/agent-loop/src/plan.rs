//! The next thing to do, as a pure function of a task's rows: a worker that was killed anywhere is followed by one that makes the
//! same plan. Never reads a clock, never asks the store.

use cofferdam_contract::work::Role;
use cofferdam_store::{MessageRow, ReceiptRow, ReceiptState};

/// Steps in a row without a call that could be made, after which the task fails.
pub(crate) const MAX_BAD_STEPS: usize = 5;
/// The same call in a row: the last one is not made, and the model is told. One more, and the task fails.
pub(crate) const MAX_SAME_CALLS: usize = 5;
/// The mark of receipts of calls that the loop itself answered.
pub(crate) const BY_LOOP: &str = "loop";

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Ask the model.
    Model,
    /// Do these things about calls; none waits for another.
    Calls(Vec<Act>),
    /// A person has to answer: about an outcome (true), or an approval.
    WaitForPerson {
        unknown: bool,
    },
    WaitForSubAgent,
    /// Nobody answered in time, and the rule says that the task ends.
    Expired {
        tool: String,
    },
    /// The last message is the answer.
    Finish,
    /// The model goes round in circles.
    Circles(String),
}

/// A thing to do about a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// The result is known, and the model was not told yet.
    Tell(ReceiptRow),
    /// It is made: the receipt says `sent` first.
    Make(ReceiptRow),
    /// It had left when its worker died, and may be made again.
    Repeat(ReceiptRow),
    /// It had left when its worker died: a person is asked.
    Unknown(ReceiptRow),
    /// It was declined, or nobody answered in time.
    Refused(ReceiptRow),
}

/// Plans. `messages` are the task's own, in their order; `receipts` its receipts, in the order in which the model asked.
pub(crate) fn next(messages: &[&MessageRow], receipts: &[ReceiptRow]) -> Next {
    let said = |role: Role| messages.iter().rposition(|message| message.role == role);
    let Some(asked) = said(Role::Assistant) else { return Next::Model };
    // Something was said to the model after it.
    if said(Role::Notice).max(said(Role::User)).is_some_and(|at| at > asked) {
        return Next::Model;
    }
    let Some(answer) = messages.get(asked) else { return Next::Model };
    if answer.content.tool_calls.is_empty() {
        return Next::Finish;
    }
    let told = |call: &str| {
        let after = messages.iter().skip(asked + 1);
        after.filter(|message| message.role == Role::Tool).any(|message| message.content.call.as_deref() == Some(call))
    };
    let open: Vec<&ReceiptRow> =
        answer.content.tool_calls.iter().filter_map(|call| receipts.iter().find(|r| r.call == call.id)).collect();
    let open: Vec<&ReceiptRow> = open.into_iter().filter(|receipt| !told(&receipt.call)).collect();
    if open.is_empty() {
        return circles(receipts).map_or(Next::Model, Next::Circles);
    }
    if let Some(expired) = open.iter().find(|r| r.state == ReceiptState::Expired && r.on_timeout == "stop") {
        return Next::Expired { tool: expired.tool.clone() };
    }
    let act = |receipt: &&ReceiptRow| {
        let receipt = (*receipt).clone();
        match receipt.state {
            ReceiptState::Done => Some(Act::Tell(receipt)),
            ReceiptState::Approved | ReceiptState::Retry => Some(Act::Make(receipt)),
            ReceiptState::Sent if receipt.repeatable => Some(Act::Repeat(receipt)),
            ReceiptState::Sent => Some(Act::Unknown(receipt)),
            ReceiptState::Declined | ReceiptState::Expired => Some(Act::Refused(receipt)),
            ReceiptState::AwaitingApproval | ReceiptState::Unknown | ReceiptState::Child => None,
        }
    };
    let acts: Vec<Act> = open.iter().filter_map(act).collect();
    if !acts.is_empty() {
        return Next::Calls(acts);
    }
    let is = |state: ReceiptState| open.iter().any(|receipt| receipt.state == state);
    match (is(ReceiptState::Unknown), is(ReceiptState::AwaitingApproval)) {
        (true, _) => Next::WaitForPerson { unknown: true },
        (_, true) => Next::WaitForPerson { unknown: false },
        _ => Next::WaitForSubAgent,
    }
}

/// The number of times in a row that the newest call was asked for with the same arguments.
pub(crate) fn same_in_a_row(receipts: &[ReceiptRow], tool: &str, digest: &str) -> usize {
    receipts.iter().rev().take_while(|receipt| receipt.tool == tool && receipt.digest == digest).count()
}

/// Steps at the end whose calls were all answered by the loop.
fn bad_steps(receipts: &[ReceiptRow]) -> usize {
    let mut bad = Vec::new();
    for receipt in receipts.iter().rev() {
        if receipt.decided_by != BY_LOOP {
            bad.retain(|step| *step != receipt.step);
            break;
        }
        if bad.last() != Some(&receipt.step) {
            bad.push(receipt.step);
        }
    }
    bad.len()
}

/// The sentence that says how the model goes round in circles, if it does.
fn circles(receipts: &[ReceiptRow]) -> Option<String> {
    let last = receipts.last()?;
    if same_in_a_row(receipts, &last.tool, &last.digest) > MAX_SAME_CALLS {
        return Some(format!(
            "The model asked for the same call of `{}` with the same arguments more than {MAX_SAME_CALLS} times in a row, and went \
             on after it was told.",
            last.tool
        ));
    }
    (bad_steps(receipts) >= MAX_BAD_STEPS).then(|| {
        format!("The model asked {MAX_BAD_STEPS} times in a row for nothing but calls that cannot be made, and was told each time.")
    })
}

#[cfg(test)]
mod tests;
