//! Looking at tasks, threads and messages of the caller's organization. What belongs to another one does not exist.

use cofferdam_contract::work::{ApprovalInfo, MessageInfo, TaskInfo, ThreadInfo, Timestamp};
use cofferdam_contract::{Problem, TaskId, ThreadId};
use cofferdam_core::Caller;
use cofferdam_store::{MessageSearch, ReceiptRow, Span, TaskQuery, TaskRow, ThreadQuery};

use crate::info::{approval, info, message_info, thread_info, waits};
use crate::lists::{
    ApprovalPage, Found, FoundPage, MessagePage, MessagesOf, TaskFilter, TaskPage, ThreadFilter, ThreadPage, cursor,
    limit, read_cursor,
};
use crate::{Error, Tasks};
use cofferdam_contract::AgentId;
use cofferdam_contract::work::TaskStatus;

/// The longest text of a search, in bytes.
const MAX_SEARCH: usize = 500;

impl Tasks {
    /// The task as it is shown, with what it waits for and the tasks that it has made.
    ///
    /// # Errors
    /// There is no such task in the caller's organization.
    pub async fn get(&self, caller: &Caller, task: &TaskId) -> Result<TaskInfo, Error> {
        let row = self.row(caller, task).await?;
        self.shown(&row).await
    }

    /// A row with what it waits for and the tasks that it has made.
    pub(crate) async fn shown(&self, row: &TaskRow) -> Result<TaskInfo, Error> {
        let receipts = self.waiting_of(row).await?;
        let made_some = !row.used_tools.is_empty() || !row.status.is_final();
        let children = if made_some { self.store.children(&row.id).await? } else { Vec::new() };
        Ok(info(row, &receipts, &children))
    }

    async fn waiting_of(&self, row: &TaskRow) -> Result<Vec<ReceiptRow>, Error> {
        match row.status {
            TaskStatus::Paused => {
                let mut receipts = self.store.receipts(&row.id).await?;
                receipts.retain(|receipt| waits(receipt.state));
                Ok(receipts)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The organization's tasks, the newest first. Without the tasks that they have made.
    ///
    /// # Errors
    /// A cursor or a limit that is none.
    pub async fn list(&self, caller: &Caller, filter: &TaskFilter) -> Result<TaskPage, Error> {
        let limit = limit(filter.limit)?;
        let query = TaskQuery {
            agent: filter.agent.clone(),
            status: filter.status,
            thread: filter.thread.clone(),
            parent: filter.parent.clone(),
            after: filter.after.as_deref().map(read_cursor).transpose()?,
            limit: limit + 1,
        };
        let mut rows = self.store.tasks(&caller.organization, &query).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| cursor(row.created_at_ms, row.id.as_str()));
        let mut tasks = Vec::with_capacity(rows.len());
        for row in &rows {
            tasks.push(info(row, &self.waiting_of(row).await?, &[]));
        }
        Ok(TaskPage { tasks, next })
    }

    /// The thread as it is shown.
    ///
    /// # Errors
    /// There is no such thread in the caller's organization.
    pub async fn thread(&self, caller: &Caller, thread: &ThreadId) -> Result<ThreadInfo, Error> {
        Ok(thread_info(self.thread_row(caller, thread).await?))
    }

    /// The organization's threads, the newest first.
    ///
    /// # Errors
    /// A cursor or a limit that is none.
    pub async fn threads(&self, caller: &Caller, filter: &ThreadFilter) -> Result<ThreadPage, Error> {
        let limit = limit(filter.limit)?;
        let query = ThreadQuery {
            agent: filter.agent.clone(),
            person: filter.user.clone(),
            after: filter.after.as_deref().map(read_cursor).transpose()?,
            limit: limit + 1,
        };
        let mut rows = self.store.threads(&caller.organization, &query).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| cursor(row.created_at_ms, row.id.as_str()));
        Ok(ThreadPage { threads: rows.into_iter().map(thread_info).collect(), next })
    }

    /// A page of a thread's messages.
    ///
    /// # Errors
    /// There is no such thread in the caller's organization; a limit that is none.
    pub async fn messages(
        &self,
        caller: &Caller,
        thread: &ThreadId,
        of: MessagesOf,
        asked: u32,
    ) -> Result<MessagePage, Error> {
        let limit = limit(asked)?;
        self.thread_row(caller, thread).await?;
        let (span, forward) = match of {
            MessagesOf::After(seq) => (Span::After(seq), true),
            MessagesOf::Before(seq) => (Span::Before(seq), false),
        };
        let mut rows = self.store.messages(thread, span, limit + 1).await?;
        let more = rows.len() > limit as usize;
        match forward {
            true => rows.truncate(limit as usize),
            // One too many is the oldest.
            false => drop(rows.drain(..usize::from(more))),
        }
        let (first, last) = (rows.first().map(|row| row.seq), rows.last().map(|row| row.seq));
        let (previous, next) = match of {
            MessagesOf::After(after) => (first.filter(|_| after > 0), last.filter(|_| more)),
            MessagesOf::Before(_) => (first.filter(|_| more), last),
        };
        Ok(MessagePage { messages: rows.into_iter().map(message_info).collect(), previous, next })
    }

    /// The messages of one task, in their order.
    ///
    /// # Errors
    /// There is no such task in the caller's organization.
    pub async fn messages_of(
        &self,
        caller: &Caller,
        task: &TaskId,
        after: u64,
        asked: u32,
    ) -> Result<Vec<MessageInfo>, Error> {
        let row = self.row(caller, task).await?;
        let rows = self.store.messages_of(&row, after, limit(asked)?).await?;
        Ok(rows.into_iter().map(message_info).collect())
    }

    /// The tasks that a task has made.
    ///
    /// # Errors
    /// There is no such task in the caller's organization.
    pub async fn children(&self, caller: &Caller, task: &TaskId) -> Result<Vec<TaskId>, Error> {
        self.row(caller, task).await?;
        Ok(self.store.children(task).await?)
    }

    /// The tool calls of a task that wait for a person.
    ///
    /// # Errors
    /// There is no such task in the caller's organization.
    pub async fn approvals_of(&self, caller: &Caller, task: &TaskId) -> Result<Vec<ApprovalInfo>, Error> {
        let row = self.row(caller, task).await?;
        Ok(info(&row, &self.waiting_of(&row).await?, &[]).waits_for)
    }

    /// All tool calls of the organization that wait for a person.
    ///
    /// # Errors
    /// A cursor or a limit that is none.
    pub async fn approvals(&self, caller: &Caller, after: Option<&str>, asked: u32) -> Result<ApprovalPage, Error> {
        let limit = limit(asked)?;
        let wrong = || Problem::invalid("after: this is no `next` of a page; leave it out for the first one");
        let after = match after {
            Some(text) => {
                let (task, call) = text.split_once('/').ok_or_else(wrong)?;
                Some((TaskId::parse(task).map_err(|_| wrong())?, call.to_owned()))
            }
            None => None,
        };
        let behind = after.as_ref().map(|(task, call)| (task, call.as_str()));
        let mut waiting = self.store.waiting_receipts(&caller.organization, behind, limit + 1).await?;
        let more = waiting.len() > limit as usize;
        waiting.truncate(limit as usize);
        let last = waiting.last().filter(|_| more);
        let next = last.map(|last| format!("{}/{}", last.receipt.task, last.receipt.call));
        let approvals = waiting.iter().map(|waits| approval(&waits.receipt, &waits.thread, &waits.agent)).collect();
        Ok(ApprovalPage { approvals, next })
    }

    /// Messages of the organization that have all the words, the newest first.
    ///
    /// # Errors
    /// No words, too many of them, or a limit that is none.
    pub async fn search(
        &self,
        caller: &Caller,
        text: &str,
        (agent, thread): (Option<AgentId>, Option<ThreadId>),
        after: Option<u64>,
        asked: u32,
    ) -> Result<FoundPage, Error> {
        if text.trim().is_empty() {
            return Err(Problem::invalid("q: the words to look for").into());
        }
        if text.len() > MAX_SEARCH {
            return Err(Problem::invalid(format!("q: at most {MAX_SEARCH} bytes")).into());
        }
        let search = MessageSearch { text: text.to_owned(), agent, thread, after, limit: limit(asked)? };
        let page = self.store.search_messages(&caller.organization, &search).await?;
        let found = |row: cofferdam_store::FoundMessage| Found {
            thread_id: row.thread,
            task_id: row.task,
            agent_id: row.agent,
            seq: row.seq,
            role: row.role,
            snippet: row.snippet,
            created_at: Timestamp(row.at_ms),
        };
        Ok(FoundPage { messages: page.messages.into_iter().map(found).collect(), next: page.next })
    }
}
