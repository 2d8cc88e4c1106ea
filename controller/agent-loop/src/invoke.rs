//! A request for a task: checked, bound to an agent's version and a thread, and written. Nothing is stored of one that is refused.

use std::collections::BTreeMap;

use cofferdam_agents::ActiveAgent;
use cofferdam_contract::work::{AgentKind, Content, EventType, InvokeRequest, Role};
use cofferdam_contract::{AgentId, OrganizationId, Problem, TaskId, ThreadId};
use cofferdam_core::{Caller, now_ms, random_bits};
use cofferdam_store::{NewEvent, NewMessage, NewTask, TaskRow, ThreadRow, Write, Written};
use cofferdam_tasks::digest;
use serde_json::Value;

use crate::parts::Parts;
use crate::work::Invoked;
use crate::{Error, output};

const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_FILES: usize = 32;
const MAX_FILE_CHARS: usize = 2_048;
const MAX_METADATA: usize = 16;
const MAX_METADATA_NAME: usize = 64;
const MAX_METADATA_TEXT: usize = 512;
const MAX_PRIORITY: i32 = 10;
const MAX_TITLE_CHARS: usize = 200;
const MAX_CONTEXT_BYTES: usize = 256 << 10;
const MAX_SCHEMA_BYTES: usize = 64 << 10;
const MAX_USER_BYTES: usize = 16 << 10;
const MAX_KEY_CHARS: usize = 255;
/// Characters of a title that is made of the text.
const MADE_TITLE_CHARS: usize = 80;

pub(crate) const NO_MODEL: &str = "No model is configured: set OPENAI_API_KEY for `cofferdam serve`, or OPENAI_BASE_URL of a local server, \
    or make an upstream with PUT /v1/upstreams/NAME.";

/// Makes a task.
pub(crate) async fn invoke(
    parts: &Parts,
    caller: &Caller,
    id: &AgentId,
    mut request: InvokeRequest,
    source: &'static str,
) -> Result<Invoked, Error> {
    check(&request)?;
    let agent = find(parts, caller, id, request.version.as_deref()).await?;
    has_model(parts, caller, &agent).await?;
    let thread = thread(parts, caller, id, &request).await?;
    let once = request.idempotency_key.take().map(|key| {
        let asked = serde_json::to_value(&request).unwrap_or_default();
        (format!("{id}/{key}"), digest(id.as_str(), &asked))
    });
    let mut new = new_task(Making {
        id: TaskId::from_random(random_bits()?),
        fresh_thread: ThreadId::from_random(random_bits()?),
        organization: &caller.organization,
        key: &caller.key,
        scopes: &caller.scopes.to_text(),
        agent: &agent,
        request,
        source,
        thread,
        max_unfinished: parts.config.max_unfinished,
    });
    new.once = once;
    let task = new.task.clone();
    match parts.tasks.write(Write::Add(Box::new(new))).await? {
        Written::Done { status, queued, .. } => {
            let mut info = task.info();
            info.status = status;
            info.internal_status = queued.is_empty().then_some(cofferdam_contract::work::Why::WaitsForThread);
            Ok(Invoked { task: info, again: false })
        }
        Written::Before { task, same: true } => {
            Ok(Invoked { task: parts.tasks.get(caller, &task).await?, again: true })
        }
        Written::Before { task, same: false } => Err(Problem::conflict(format!(
            "This idempotency key was used for another request, which made {task}. Use a new key."
        ))
        .into()),
        Written::Full => {
            let detail = "The organization has as many unfinished tasks as it may have; wait until some have ended, or stop some.";
            Err(Problem::overloaded(detail).into())
        }
        Written::Missing | Written::Lost | Written::Conflict { .. } => {
            Err(Problem::not_found("The thread does not exist any more.").into())
        }
    }
}

async fn find(
    parts: &Parts,
    caller: &Caller,
    id: &AgentId,
    version: Option<&str>,
) -> Result<std::sync::Arc<ActiveAgent>, Error> {
    let missing = || Problem::not_found(format!("There is no active agent {id}. GET /v1/agents lists them."));
    let agent = match version {
        None => parts.agents.active(&caller.organization, id).await?.ok_or_else(missing)?,
        Some(version) => parts.agents.version(&caller.organization, id, version).await?.ok_or_else(|| {
            Problem::not_found(format!(
                "The agent {id} has no version {}.",
                version.chars().take(40).collect::<String>()
            ))
        })?,
    };
    if agent.kind == AgentKind::Container {
        let detail = format!("The agent {id} is a container of its own, which takes no tasks here.");
        return Err(Problem::conflict(detail).into());
    }
    Ok(agent)
}

/// Refuses where no model can answer.
async fn has_model(parts: &Parts, caller: &Caller, agent: &ActiveAgent) -> Result<(), Error> {
    let catalogue = parts.models.settings().of(&caller.organization).await?;
    if catalogue.upstreams.is_empty() && catalogue.broken.is_empty() {
        return Err(Problem::conflict(NO_MODEL).into());
    }
    if agent.definition.model.is_none() && !catalogue.aliases.contains_key("default") {
        let detail = "The agent names no model, and there is no alias `default`: set `model` in the agent, or make the alias with PUT \
                      /v1/model-aliases/default.";
        return Err(Problem::conflict(detail).into());
    }
    Ok(())
}

/// The thread that the request goes on with.
async fn thread(
    parts: &Parts,
    caller: &Caller,
    agent: &AgentId,
    request: &InvokeRequest,
) -> Result<Option<ThreadRow>, Error> {
    let Some(asked) = request.thread.as_ref().or(request.id.as_ref()) else { return Ok(None) };
    let missing = || Problem::not_found("The agent has no such thread. GET /v1/threads lists them.");
    let store = parts.tasks.store();
    let mut found = match ThreadId::parse(asked) {
        Ok(id) => store.thread(&caller.organization, &id).await?,
        Err(_) => return Err(missing().into()),
    };
    if let (None, Ok(task)) = (&found, TaskId::parse(asked))
        && let Some(task) = store.task(&caller.organization, &task).await?
    {
        found = store.thread(&caller.organization, &task.thread).await?;
    }
    match found {
        Some(row) if row.agent == *agent => Ok(Some(row)),
        Some(row) => {
            let detail = format!("The thread belongs to the agent {}; a thread has one agent.", row.agent);
            Err(Problem::conflict(detail).into())
        }
        None => Err(missing().into()),
    }
}

/// Checks what does not depend on anything stored.
pub(crate) fn check(request: &InvokeRequest) -> Result<(), Problem> {
    let input = &request.input;
    let refuse = |field: &str, why: String| Err(Problem::invalid(format!("{field}: {why}")));
    if input.text.len() > MAX_TEXT_BYTES {
        return refuse("input.text", format!("at most {MAX_TEXT_BYTES} bytes; it has {}", input.text.len()));
    }
    if input.text.trim().is_empty() && input.files.is_empty() {
        return refuse("input.text", "something to do; it is empty".to_owned());
    }
    let bad_file =
        |file: &String| file.is_empty() || file.chars().count() > MAX_FILE_CHARS || file.chars().any(char::is_control);
    if input.files.len() > MAX_FILES || input.files.iter().any(bad_file) {
        return refuse("input.files", format!("at most {MAX_FILES} addresses of at most {MAX_FILE_CHARS} characters"));
    }
    if serde_json::to_vec(&input.user).map_or(0, |user| user.len()) > MAX_USER_BYTES {
        return refuse("input.user", format!("at most {MAX_USER_BYTES} bytes of JSON"));
    }
    if request.priority.is_some_and(|priority| priority.abs() > MAX_PRIORITY) {
        return refuse("priority", format!("-{MAX_PRIORITY} to {MAX_PRIORITY}"));
    }
    if request.deadline.is_some_and(|deadline| deadline.0 <= now_ms()) {
        return refuse("deadline", "a time to come".to_owned());
    }
    if let Some(key) = &request.idempotency_key
        && (key.is_empty() || key.chars().count() > MAX_KEY_CHARS || key.chars().any(char::is_control))
    {
        return refuse("idempotency_key", format!("1 to {MAX_KEY_CHARS} characters, no control characters"));
    }
    let metadata = request.metadata.iter().flatten();
    let bad = |(name, text): (&String, &String)| {
        name.is_empty() || name.chars().count() > MAX_METADATA_NAME || text.chars().count() > MAX_METADATA_TEXT
    };
    if request.metadata.as_ref().is_some_and(|metadata| metadata.len() > MAX_METADATA) || metadata.into_iter().any(bad)
    {
        return refuse(
            "metadata",
            format!(
                "at most {MAX_METADATA} entries, names of at most {MAX_METADATA_NAME} and texts of at most {MAX_METADATA_TEXT} characters"
            ),
        );
    }
    if request.title.as_ref().is_some_and(|title| title.chars().count() > MAX_TITLE_CHARS) {
        return refuse("title", format!("at most {MAX_TITLE_CHARS} characters"));
    }
    let long = [
        ("instructions_override", &request.instructions_override),
        ("additional_context", &request.additional_context),
        ("expected_output", &request.expected_output),
    ];
    for (field, text) in long {
        if text.as_ref().is_some_and(|text| text.len() > MAX_CONTEXT_BYTES) {
            return refuse(field, format!("at most {MAX_CONTEXT_BYTES} bytes"));
        }
    }
    if let Some(schema) = &request.output_schema
        && (!schema.is_object() || schema.to_string().len() > MAX_SCHEMA_BYTES)
    {
        return refuse("output_schema", format!("a JSON Schema, an object of at most {MAX_SCHEMA_BYTES} bytes"));
    }
    if let Some(Err(why)) = request.output_schema.as_ref().map(output::check) {
        return refuse("output_schema", why);
    }
    // PostgreSQL stores none.
    if serde_json::to_value(request).is_ok_and(|value| has_nul(&value)) {
        return refuse("input", "a character U+0000 in a text".to_owned());
    }
    Ok(())
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A task that is being made.
pub(crate) struct Making<'a> {
    pub id: TaskId,
    pub fresh_thread: ThreadId,
    pub organization: &'a OrganizationId,
    pub key: &'a str,
    pub scopes: &'a str,
    pub agent: &'a ActiveAgent,
    pub request: InvokeRequest,
    pub source: &'static str,
    pub thread: Option<ThreadRow>,
    pub max_unfinished: u64,
}

/// The rows of a new task.
pub(crate) fn new_task(making: Making<'_>) -> NewTask {
    let Making { id, fresh_thread, organization, key, scopes, agent, request, source, thread, max_unfinished } = making;
    let now = now_ms();
    let made: String = request
        .input
        .text
        .trim()
        .chars()
        .take(MADE_TITLE_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let title = request.title.clone().unwrap_or(made);
    let person =
        request.input.user.as_ref().and_then(|user| user.id.clone().or_else(|| user.email.clone())).unwrap_or_default();
    let thread_id = thread.as_ref().map_or(fresh_thread, |thread| thread.id.clone());
    let new_thread = thread.is_none().then(|| ThreadRow {
        id: thread_id.clone(),
        organization: organization.clone(),
        agent: agent.id.clone(),
        api_key: key.to_owned(),
        title: title.clone(),
        person: person.chars().take(256).collect(),
        forked_from: None,
        active: None,
        waiting: 0,
        last_event: 0,
        last_message: 0,
        state: BTreeMap::new(),
        created_at_ms: now,
        updated_at_ms: now,
    });
    let message = NewMessage {
        role: Role::User,
        content: Content { text: request.input.text.clone(), files: request.input.files.clone(), ..Content::default() },
    };
    let asked_source =
        request.source.as_deref().filter(|source| source.len() <= 32 && source.chars().all(|c| c.is_ascii_graphic()));
    let (priority, metadata) = (request.priority.unwrap_or_default(), request.metadata.clone().unwrap_or_default());
    let deadline_ms = request.deadline.map(|deadline| deadline.0);
    let source = asked_source.unwrap_or(source).to_owned();
    let pending = TaskRow::pending(
        (organization.clone(), agent.id.clone(), agent.version.clone()),
        (id, thread_id),
        (key.to_owned(), scopes.to_owned()),
        request,
        &source,
        now,
    );
    let task = TaskRow { title, priority, deadline_ms, metadata, ..pending };
    NewTask {
        task,
        thread: new_thread,
        once: None,
        message,
        events: vec![NewEvent { kind: EventType::TaskCreated, data: Value::Null }],
        max_unfinished,
        parent_lease: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<String> {
        check(&serde_json::from_str(text).unwrap()).err().map(|problem| problem.detail)
    }

    #[test]
    fn requests_have_bounds() {
        assert_eq!(problem(r#"{"input": "hi", "priority": -10, "metadata": {"a": "b"}}"#), None);
        assert_eq!(problem(r#"{"input": {"files": ["https://a/b"]}}"#), None);
        let long = format!(r#"{{"input": "{}"}}"#, "x".repeat(MAX_TEXT_BYTES + 1));
        for (text, field) in [
            (r#"{"input": " "}"#, "input.text"),
            (long.as_str(), "input.text"),
            (r#"{"input": "a\u0000b"}"#, "input"),
            (r#"{"input": {"text": "x", "files": ["a\nb"]}}"#, "input.files"),
            (r#"{"input": "x", "priority": 11}"#, "priority"),
            (r#"{"input": "x", "deadline": "2020-01-01T00:00:00Z"}"#, "deadline"),
            (r#"{"input": "x", "idempotency_key": ""}"#, "idempotency_key"),
            (r#"{"input": "x", "metadata": {"": "b"}}"#, "metadata"),
            (r#"{"input": "x", "output_schema": 5}"#, "output_schema"),
        ] {
            let problem = problem(text).unwrap_or_default();
            assert!(problem.starts_with(field), "{field}: {problem:?}");
        }
    }
}
