//! The messages that a task's model sees: those of the thread's earlier tasks, then its own, from the last summary on. Reads the
//! store backwards and stops where the model's window ends, so that a long thread costs no more than a short one.

use std::collections::HashMap;

use cofferdam_contract::TaskId;
use cofferdam_contract::work::Role;
use cofferdam_store::{MessageRow, Span, Store, TaskRow};

use crate::Error;

/// Messages that are read at once.
const PAGE: u32 = 200;
/// Messages that are read at most, and their bytes.
const MAX_MESSAGES: usize = 5_000;
const MAX_BYTES: usize = 8 << 20;

/// The messages of a thread as one task sees them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Messages of other tasks before it, and its own, by number.
    messages: Vec<MessageRow>,
    task: Option<TaskId>,
}

impl History {
    /// Reads the messages.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn read(store: &Store, task: &TaskRow) -> Result<Self, Error> {
        let mut pages: Vec<MessageRow> = Vec::new();
        let (mut before, mut bytes) = (u64::MAX >> 1, 0_usize);
        loop {
            let page = store.messages(&task.thread, Span::Before(before), PAGE).await?;
            let (Some(first), full) = (page.first().map(|message| message.seq), page.len() >= PAGE as usize) else {
                break;
            };
            bytes += page.iter().map(size).sum::<usize>();
            let own = page.iter().any(|message| message.task == task.id && message.role == Role::User);
            let summed = page.iter().any(|message| message.role == Role::Summary);
            let own_before = own || pages.iter().any(|message| message.task == task.id && message.role == Role::User);
            pages.splice(0..0, page);
            before = first;
            let enough = pages.len() >= MAX_MESSAGES || bytes >= MAX_BYTES || summed;
            if !full || (enough && own_before) || pages.len() >= 4 * MAX_MESSAGES {
                break;
            }
        }
        Ok(Self { messages: pages, task: Some(task.id.clone()) })
    }

    /// The messages as they are, for tests.
    #[cfg(test)]
    pub(crate) fn of(task: &TaskId, messages: Vec<MessageRow>) -> Self {
        Self { messages, task: Some(task.clone()) }
    }

    /// Adds what was written.
    pub(crate) fn add(&mut self, message: MessageRow) {
        self.messages.push(message);
    }

    /// The task's own messages, in their order.
    pub(crate) fn own(&self) -> Vec<&MessageRow> {
        let is_own = |message: &&MessageRow| Some(&message.task) == self.task.as_ref();
        self.messages.iter().filter(is_own).collect()
    }

    /// The messages that the model sees, in their order: the last summary, what came after it, at most `most` besides the task's own.
    pub(crate) fn seen(&self, most: Option<u32>) -> Vec<&MessageRow> {
        let mut first: HashMap<&TaskId, u64> = HashMap::new();
        for message in &self.messages {
            first.entry(&message.task).and_modify(|seq| *seq = (*seq).min(message.seq)).or_insert(message.seq);
        }
        let begins = |task: &TaskId| first.get(task).copied().unwrap_or(u64::MAX);
        let own_begin = self.task.as_ref().map_or(u64::MAX, begins);
        // A task that waits for its turn is in the thread already.
        let mut seen: Vec<&MessageRow> =
            self.messages.iter().filter(|message| begins(&message.task) <= own_begin).collect();
        seen.sort_by_key(|message| (begins(&message.task), message.seq));
        let summary =
            seen.iter().rposition(|message| message.role == Role::Summary).and_then(|at| seen.get(at).copied());
        if let Some(summary) = summary {
            let (through, of) = (summary.content.through.unwrap_or(0), begins(&summary.task));
            seen.retain(|message| {
                message.role != Role::Summary && !(message.seq <= through && begins(&message.task) <= of)
            });
            seen.insert(0, summary);
        }
        if let Some(most) = most {
            let others = seen.iter().filter(|message| Some(&message.task) != self.task.as_ref()).count();
            let mut drop = others.saturating_sub(most as usize);
            seen.retain(|message| {
                let kept = drop == 0 || message.role == Role::Summary || Some(&message.task) == self.task.as_ref();
                drop -= usize::from(!kept);
                kept
            });
        }
        seen
    }
}

fn size(message: &MessageRow) -> usize {
    message.content.text.len()
        + message.content.thinking.len()
        + message.content.tool_calls.iter().map(|call| call.arguments.to_string().len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::ThreadId;
    use cofferdam_contract::work::Content;

    use super::*;

    fn message(task: u128, seq: u64, role: Role, text: &str, through: Option<u64>) -> MessageRow {
        MessageRow {
            thread: ThreadId::from_random(1),
            seq,
            task: TaskId::from_random(task),
            role,
            content: Content { text: text.to_owned(), through, ..Content::default() },
            at_ms: 0,
        }
    }

    fn texts(history: &History, most: Option<u32>) -> Vec<String> {
        history.seen(most).into_iter().map(|message| message.content.text.clone()).collect()
    }

    #[test]
    fn a_task_sees_those_before_it_and_not_those_that_wait() {
        let all = vec![
            message(1, 1, Role::User, "u1", None),
            message(2, 2, Role::User, "u2", None),
            message(1, 3, Role::Assistant, "a1", None),
            message(3, 4, Role::User, "u3", None),
            message(2, 5, Role::Assistant, "a2", None),
        ];
        let of = |task: u128| History::of(&TaskId::from_random(task), all.clone());
        assert_eq!(texts(&of(1), None), ["u1", "a1"]);
        assert_eq!(texts(&of(2), None), ["u1", "a1", "u2", "a2"]);
        assert_eq!(texts(&of(3), None), ["u1", "a1", "u2", "a2", "u3"]);
        assert_eq!(texts(&of(3), Some(1)), ["a2", "u3"]);
        assert_eq!(of(2).own().len(), 2);
    }

    #[test]
    fn a_summary_stands_for_what_was_seen_and_for_no_waiting_task() {
        let all = vec![
            message(1, 1, Role::User, "u1", None),
            message(2, 2, Role::User, "u2", None),
            message(1, 3, Role::Assistant, "a1", None),
            message(1, 4, Role::Summary, "sum", Some(3)),
            message(1, 5, Role::Assistant, "b1", None),
        ];
        let of = |task: u128| History::of(&TaskId::from_random(task), all.clone());
        assert_eq!(texts(&of(1), None), ["sum", "b1"]);
        assert_eq!(texts(&of(2), None), ["sum", "b1", "u2"]);
    }
}
