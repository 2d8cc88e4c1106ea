//! Rows of the database as the rows of agents at work.

use cofferdam_contract::work::{Content, InvokeRequest};
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::rows::{Asked, Lane, Lease, MessageRow, ReceiptRow, TaskRow, ThreadRow, ToolResult, Used, WorkEventRow};
use crate::columns::{Columns, unknown};

/// The columns of a task, in any statement.
macro_rules! task_columns {
    () => {
        "t.id, t.organization, t.agent, t.agent_version, t.thread, t.api_key, t.scopes, t.status, t.why, t.detail, \
         t.request, t.result, t.output, t.problem, t.title, t.source, t.priority, t.deadline_ms, t.parent, t.parent_call, \
         t.root, t.depth, t.turn, t.worker, t.attempt, t.lost, t.retries, t.asked, t.woken, t.steps, t.prompt_tokens, \
         t.completion_tokens, t.cache_read_tokens, t.cache_write_tokens, t.cost, t.worked_ms, t.used_tools, t.metadata, \
         t.created_at_ms, t.started_at_ms, t.paused_at_ms, t.finished_at_ms, t.updated_at_ms"
    };
}

/// The columns of a thread.
macro_rules! thread_columns {
    () => {
        "h.id, h.organization, h.agent, h.api_key, h.title, h.person, h.forked_from, h.active, h.waiting, h.last_event, \
         h.last_message, h.state, h.created_at_ms, h.updated_at_ms"
    };
}

/// The columns of a receipt.
macro_rules! receipt_columns {
    () => {
        "r.task, r.call, r.step, r.place, r.tool, r.arguments, r.digest, r.state, r.repeatable, r.result, r.child, r.message, \
         r.on_timeout, r.expires_at_ms, r.decided_by, r.note, r.created_at_ms AS receipt_created_at_ms, \
         r.updated_at_ms AS receipt_updated_at_ms"
    };
}

pub(super) use {receipt_columns, task_columns, thread_columns};

/// An enum that may be absent, which is stored as an empty text.
fn maybe<T: std::str::FromStr>(row: &AnyRow, column: &str) -> Result<Option<T>, sqlx::Error> {
    let text: String = row.try_get(column)?;
    match text.is_empty() {
        true => Ok(None),
        false => text.parse().map(Some).map_err(|_| unknown(column, format!("{text:?}"))),
    }
}

fn maybe_id<T>(row: &AnyRow, column: &str) -> Result<Option<T>, sqlx::Error>
where
    T: TryFrom<String, Error: Into<sqlx::error::BoxDynError>>,
{
    let text: String = row.try_get(column)?;
    match text.is_empty() {
        true => Ok(None),
        false => T::try_from(text).map(Some).map_err(|error| unknown(column, error)),
    }
}

fn maybe_json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<Option<T>, sqlx::Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| unknown(column, error))
}

/// The count in a column, as a number of 32 bits.
fn small(row: &AnyRow, column: &str) -> Result<i32, sqlx::Error> {
    i32::try_from(row.try_get::<i64, _>(column)?).map_err(|error| unknown(column, error))
}

pub(super) fn asked(text: &str) -> Option<Asked> {
    match text {
        "stop" => Some(Asked::Stop),
        "pause" => Some(Asked::Pause),
        _ => None,
    }
}

pub(super) fn task(row: &AnyRow) -> Result<TaskRow, sqlx::Error> {
    let worker: String = row.try_get("worker")?;
    let attempt = row.count("attempt")?;
    let tools: String = row.try_get("used_tools")?;
    Ok(TaskRow {
        id: row.id("id")?,
        organization: row.id("organization")?,
        agent: row.id("agent")?,
        agent_version: row.try_get("agent_version")?,
        thread: row.id("thread")?,
        api_key: row.try_get("api_key")?,
        scopes: row.try_get("scopes")?,
        status: row.name("status")?,
        why: maybe(row, "why")?,
        detail: row.try_get("detail")?,
        request: row.json::<InvokeRequest>("request")?,
        result: row.try_get("result")?,
        output: maybe_json::<Value>(row, "output")?,
        problem: maybe_json(row, "problem")?,
        title: row.try_get("title")?,
        source: row.try_get("source")?,
        priority: small(row, "priority")?,
        deadline_ms: row.try_get("deadline_ms")?,
        parent: maybe_id(row, "parent")?,
        parent_call: row.try_get("parent_call")?,
        root: row.id("root")?,
        depth: small(row, "depth")?.unsigned_abs(),
        turn: row.count("turn")?,
        lease: (!worker.is_empty()).then_some(Lease { worker, attempt }),
        attempt,
        lost: row.count("lost")?,
        retries: row.count("retries")?,
        asked: asked(&row.try_get::<String, _>("asked")?),
        woken: row.flag("woken")?,
        used: Used {
            steps: row.count("steps")?,
            prompt_tokens: row.count("prompt_tokens")?,
            completion_tokens: row.count("completion_tokens")?,
            cache_read_tokens: row.count("cache_read_tokens")?,
            cache_write_tokens: row.count("cache_write_tokens")?,
            cost: row.count("cost")?,
            worked_ms: row.count("worked_ms")?,
        },
        used_tools: serde_json::from_str(&tools).map_err(|error| unknown("used_tools", error))?,
        metadata: row.json("metadata")?,
        created_at_ms: row.try_get("created_at_ms")?,
        started_at_ms: row.try_get("started_at_ms")?,
        paused_at_ms: row.try_get("paused_at_ms")?,
        finished_at_ms: row.try_get("finished_at_ms")?,
        updated_at_ms: row.try_get("updated_at_ms")?,
    })
}

pub(super) fn thread(row: &AnyRow) -> Result<ThreadRow, sqlx::Error> {
    Ok(ThreadRow {
        id: row.id("id")?,
        organization: row.id("organization")?,
        agent: row.id("agent")?,
        api_key: row.try_get("api_key")?,
        title: row.try_get("title")?,
        person: row.try_get("person")?,
        forked_from: maybe_id(row, "forked_from")?,
        active: maybe_id(row, "active")?,
        waiting: row.count("waiting")?,
        last_event: row.count("last_event")?,
        last_message: row.count("last_message")?,
        state: row.json("state")?,
        created_at_ms: row.try_get("created_at_ms")?,
        updated_at_ms: row.try_get("updated_at_ms")?,
    })
}

pub(super) fn message(row: &AnyRow) -> Result<MessageRow, sqlx::Error> {
    Ok(MessageRow {
        thread: row.id("thread")?,
        seq: row.count("seq")?,
        task: row.id("task")?,
        role: row.name("role")?,
        content: row.json::<Content>("content")?,
        at_ms: row.try_get("at_ms")?,
    })
}

pub(super) fn event(row: &AnyRow) -> Result<WorkEventRow, sqlx::Error> {
    Ok(WorkEventRow {
        thread: row.id("thread")?,
        id: row.count("id")?,
        task: row.id("task")?,
        kind: row.name("kind")?,
        data: row.json("data")?,
        at_ms: row.try_get("at_ms")?,
    })
}

pub(super) fn receipt(row: &AnyRow) -> Result<ReceiptRow, sqlx::Error> {
    Ok(ReceiptRow {
        task: row.id("task")?,
        call: row.try_get("call")?,
        step: row.count("step")?,
        place: row.count("place")?,
        tool: row.try_get("tool")?,
        arguments: row.try_get("arguments")?,
        digest: row.try_get("digest")?,
        state: row.name("state")?,
        repeatable: row.flag("repeatable")?,
        result: maybe_json::<ToolResult>(row, "result")?,
        child: maybe_id(row, "child")?,
        message: row.try_get("message")?,
        on_timeout: row.try_get("on_timeout")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        decided_by: row.try_get("decided_by")?,
        note: row.try_get("note")?,
        created_at_ms: row.try_get("receipt_created_at_ms")?,
        updated_at_ms: row.try_get("receipt_updated_at_ms")?,
    })
}

impl Lane {
    /// As the queue has it: ids have no `/`.
    pub(super) fn text(&self) -> String {
        format!("{}/{}", self.organization, self.agent)
    }

    pub(super) fn parse(text: &str) -> Result<Self, sqlx::Error> {
        let parse = || {
            let (organization, agent) = text.split_once('/')?;
            Some(Self {
                organization: organization.to_owned().try_into().ok()?,
                agent: agent.to_owned().try_into().ok()?,
            })
        };
        parse().ok_or_else(|| unknown("lane", format!("{text:?}")))
    }
}
