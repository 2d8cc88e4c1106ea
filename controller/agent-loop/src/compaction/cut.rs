//! The place at which a conversation is cut: what is before it is summed up, what is after it stays. Pure.

use std::collections::HashSet;

use cofferdam_contract::TaskId;
use cofferdam_contract::work::Role;
use cofferdam_store::MessageRow;

use super::size;

/// Characters of a tool's result that are left when even the newest messages do not fit.
const SHORT_RESULT_CHARS: usize = 2_000;

/// The old part of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cut {
    /// The number of its last message: a summary stands for all that the task sees up to it.
    pub through: u64,
    pub old: Vec<MessageRow>,
    /// The request of the task itself is in it.
    pub has_request: bool,
}

/// Cuts the messages that a task sees so that at most `keep` bytes stay, as far as that is possible: the last step stays always, and
/// a call with its result. `None`: there is nothing to sum up.
pub(crate) fn cut(seen: &[MessageRow], task: &TaskId, keep: usize) -> Option<Cut> {
    // The last answer with all that follows it: what the model has to react to.
    let last_step =
        seen.iter().rposition(|message| message.role == Role::Assistant).unwrap_or(seen.len().saturating_sub(1));
    let mut kept = 0_usize;
    let mut from = seen.len();
    while let Some(message) = from.checked_sub(1).and_then(|at| seen.get(at)) {
        kept = kept.saturating_add(size(message));
        if kept > keep {
            break;
        }
        from -= 1;
    }
    // A cut that would part pairs moves on towards the newest, and if that does not help, back.
    let last = last_step.min(seen.len());
    let start = from.min(last);
    let later = (start..=last).find_map(|at| made(seen, task, at));
    later.or_else(|| (1..start).rev().find_map(|at| made(seen, task, at)))
}

/// The cut before a place, if it parts no call from its result and sums up more than one message.
fn made(seen: &[MessageRow], task: &TaskId, at: usize) -> Option<Cut> {
    let through = seen.get(..at)?.iter().map(|message| message.seq).max()?;
    // Numbers do not follow the order in which a task sees messages: what is at or below it goes, wherever it stands.
    let (old, new): (Vec<&MessageRow>, Vec<&MessageRow>) =
        seen.iter().partition(|message| message.seq <= through && (message.role != Role::Summary || at > 0));
    if old.iter().all(|message| message.role == Role::Summary) || new.is_empty() {
        return None;
    }
    let asked = |messages: &[&MessageRow]| -> HashSet<(TaskId, String)> {
        let calls =
            messages.iter().flat_map(|m| m.content.tool_calls.iter().map(|call| (m.task.clone(), call.id.clone())));
        calls.collect()
    };
    let (asked_old, asked_new) = (asked(&old), asked(&new));
    let told = |messages: &[&MessageRow], calls: &HashSet<(TaskId, String)>| {
        messages.iter().filter(|m| m.role == Role::Tool).any(|message| {
            message.content.call.as_ref().is_some_and(|call| calls.contains(&(message.task.clone(), call.clone())))
        })
    };
    if told(&new, &asked_old) || told(&old, &asked_new) {
        return None;
    }
    // A call that has no result yet stays with the loop.
    let answered: HashSet<(TaskId, String)> = old
        .iter()
        .filter(|message| message.role == Role::Tool)
        .filter_map(|message| Some((message.task.clone(), message.content.call.clone()?)))
        .collect();
    if asked_old.iter().any(|(of, call)| of == task && !answered.contains(&(of.clone(), call.clone()))) {
        return None;
    }
    let has_request = old.iter().any(|message| message.role == Role::User && message.task == *task);
    Some(Cut { through, old: old.into_iter().cloned().collect(), has_request })
}

/// The messages with long results of tools shortened: the last means when a conversation does not fit and nothing is left to sum up.
/// The store keeps them whole. The second value says whether anything has become shorter.
pub(crate) fn shortened(mut seen: Vec<MessageRow>) -> (Vec<MessageRow>, bool) {
    let mut changed = false;
    for message in seen.iter_mut().filter(|message| message.role == Role::Tool) {
        if message.content.text.len() > SHORT_RESULT_CHARS * 2 {
            let text = std::mem::take(&mut message.content.text);
            message.content.text = crate::tools::within(text, SHORT_RESULT_CHARS);
            changed = true;
        }
    }
    (seen, changed)
}
