//! `run_code`: snippets in a sandbox, in a session that lives with the thread: variables and files stay from call to call and from
//! task to task. Its grants and limits come from the agent's definition; the model can ask for none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::work::ToolOptions;
use cofferdam_contract::{
    FilesInput, Language, Limits, LimitsRequest, Outcome, Problem, RunRequest, SessionId, SessionRequest, Status,
};
use cofferdam_core::{Caller, Failure as _, chain};
use cofferdam_sandbox::{Run, Started, check};
use cofferdam_store::ToolResult;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Attempt, Kind, Later, bounded};
use crate::sessions::{self, Found, Kept};
use crate::types::{Hints, PlannedCall, RunContext, ToolDone};

pub(super) const NAME: &str = "run_code";

/// The longest outcome that is accepted, in bytes.
const MAX_OUTCOME: usize = 128 << 20;
/// The idle time after which a thread's session ends. Meanwhile it is on disk, and counts among its key's sessions.
const SESSION_TTL_S: u64 = 24 * 3_600;
/// Files of a result that are named.
const MAX_FILES_SHOWN: usize = 50;
/// The time for a place in a worker's line and in the session's, before a run's own time begins.
pub(super) const QUEUE_TIME: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct Arguments {
    language: Language,
    code: String,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    files: FilesInput,
}

pub(super) fn tool(ctx: &RunContext, options: ToolOptions) -> super::Found {
    let mut can = String::from(
        "Run Python, JavaScript or TypeScript in a sandbox. Variables, imports and files stay from call to call; Python and \
         JavaScript have a session each. Returns standard output, the value of the last expression, errors, and the names of \
         files that were written. Print what you want to see: pictures are named and not shown.",
    );
    can.push_str(match options.grants.is_empty() {
        true => " There is no network.",
        false => " The network is open to the hosts that this agent was granted, and to no others.",
    });
    let repeatable = may_repeat(&ctx.thread.state, &options);
    let destructive = options.grants.reaches_http() || !options.grants.tools.is_empty();
    super::Found {
        wanted: NAME.to_owned(),
        known_as: vec![NAME.to_owned()],
        description: can,
        parameters: json!({
            "type": "object",
            "properties": {
                "language": {"type": "string", "enum": ["python", "javascript", "typescript"]},
                "code": {"type": "string", "description": "The source code. The value of the last expression is a result."},
                "stdin": {"type": "string"},
                "files": {
                    "type": "array",
                    "description": "Files to put into the working folder first.",
                    "items": {
                        "type": "object",
                        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
                        "required": ["path", "content"],
                        "additionalProperties": false
                    }
                }
            },
            "required": ["language", "code"],
            "additionalProperties": false
        }),
        // Calls share a session: one after the other.
        hints: Hints { idempotent: repeatable, destructive, sequential: true, ..Hints::default() },
        kind: Kind::RunCode(Arc::new(options)),
        given: vec![NAME.to_owned()],
        claimed: None,
    }
}

/// A call may be made again if the code can reach nothing, and no session has seen a part of it: a session that was made for a
/// call without a result is forgotten with it.
pub(super) fn may_repeat(state: &BTreeMap<String, Value>, options: &ToolOptions) -> bool {
    options.grants.is_empty() && !sessions::any(state)
}

pub(super) async fn call(
    ctx: &RunContext,
    options: &ToolOptions,
    call: &PlannedCall,
    timeout: Duration,
    last: bool,
) -> Attempt {
    let arguments: Arguments = match serde_json::from_value(call.arguments.clone()) {
        Ok(arguments) => arguments,
        Err(error) => return told(format!("arguments: {error}")),
    };
    let language = arguments.language;
    let mut request = RunRequest::new(language, arguments.code);
    request.stdin = arguments.stdin;
    request.files = arguments.files;
    request.limits = limits(options, timeout);
    request.grants = options.grants.clone();
    if let Err(problem) = check(&request) {
        return told(problem.detail);
    }
    let (found, mut note) = match sessions::find(ctx, language).await {
        Ok(Found::None) => (None, None),
        Ok(Found::Own(kept)) => (Some(kept), None),
        Ok(Found::Copied(kept, false)) => (Some(kept), None),
        Ok(Found::Copied(kept, true)) => (Some(kept), Some(GONE_ON)),
        Ok(Found::Lost) => (None, Some(LOST)),
        Err(Later(_)) if last => (None, Some(LOST)),
        Err(later) => return later.into(),
    };
    if let Some(kept) = found {
        request.session = Some(kept.session.clone());
        match run(ctx, &kept.caller, &request).await {
            Ok(outcome) => return done(ctx, &outcome, language, Some(&kept), note),
            Err(Failed::Gone) => note = Some(LOST),
            // Its worker is not there. The thread goes on without what was in it.
            Err(Failed::Attempt(Attempt::NotSent { .. })) if last => note = Some(LOST),
            Err(Failed::Attempt(attempt)) => return attempt,
        }
    }
    match make(ctx, &request).await {
        Ok(session) => {
            let kept = Kept::made(ctx, session);
            request.session = Some(kept.session.clone());
            match run(ctx, &kept.caller, &request).await {
                Ok(outcome) => done(ctx, &outcome, language, Some(&kept), note),
                Err(failed) => {
                    sessions::forget(ctx, kept);
                    failed.into()
                }
            }
        }
        // The code runs all the same.
        Err(Failed::Attempt(Attempt::NotSent { .. })) if last => {
            request.session = None;
            match run(ctx, &sessions::owner(ctx), &request).await {
                Ok(outcome) => done(ctx, &outcome, language, None, Some(NOT_KEPT)),
                Err(failed) => failed.into(),
            }
        }
        Err(failed) => failed.into(),
    }
}

const LOST: &str = "Note: the session of the earlier calls is lost. This ran in a new one: variables, imports and files of \
                    before are gone.";
const GONE_ON: &str = "Note: the session was copied from the conversation that this one was forked from, which has gone on \
                       since: variables and files may differ from what you remember.";
const NOT_KEPT: &str = "Note: no session could be made now. This ran in a fresh sandbox: variables and files of before are \
                        not there, and those of this call are not kept.";

/// The failure of a run.
enum Failed {
    /// The session's state is lost. Nothing ran.
    Gone,
    Attempt(Attempt),
}

impl From<Failed> for Attempt {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Gone => Self::NotSent { why: "The session was lost.".to_owned(), after: None },
            Failed::Attempt(attempt) => attempt,
        }
    }
}

fn told(text: impl Into<String>) -> Attempt {
    Attempt::Done(ToolDone::error(text).into())
}

/// The limits of a run: those of the definition, and no more time than the task has.
fn limits(options: &ToolOptions, timeout: Duration) -> LimitsRequest {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    let asked =
        options.limits.wall_ms.or(options.timeout_s.map(|s| s.saturating_mul(1_000).min(Limits::MAXIMUM.wall_ms)));
    let wall = match asked {
        Some(asked) => Some(asked.min(millis(timeout))),
        None => Some(millis(timeout)).filter(|left| *left < Limits::DEFAULT.wall_ms),
    };
    LimitsRequest { wall_ms: wall, ..options.limits }
}

async fn make(ctx: &RunContext, request: &RunRequest) -> Result<SessionId, Failed> {
    let wanted = SessionRequest {
        language: request.language,
        ttl_s: Some(SESSION_TTL_S),
        limits: request.limits,
        grants: request.grants.clone(),
        snapshot: None,
    };
    let made = ctx.parts.sandboxes.create_session(&sessions::owner(ctx), &wanted).await;
    made.map(|session| session.id).map_err(|error| Failed::Attempt(later_or_told(&error)))
}

async fn run(ctx: &RunContext, caller: &Caller, request: &RunRequest) -> Result<Outcome, Failed> {
    let raw = match serde_json::to_vec(request) {
        Ok(raw) if raw.len() <= MAX_REQUEST_BYTES => Bytes::from(raw),
        Ok(_) => return Err(Failed::Attempt(told(format!("A run may have at most {MAX_REQUEST_BYTES} bytes.")))),
        Err(error) => return Err(Failed::Attempt(told(error.to_string()))),
    };
    let started = ctx.parts.sandboxes.run(Run { caller, request, raw, accept: None }).await;
    let Started { response, kept, .. } = started.map_err(|error| match error.refused() {
        Some(problem) => refused(problem, request.session.is_some()),
        None => Failed::Attempt(broke(&error)),
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_OUTCOME).collect().await;
    drop(kept);
    let unknown = |why: &str| Failed::Attempt(Attempt::Unknown { why: why.to_owned() });
    let body = body.map_err(|_| unknown("The worker was lost in the middle of its answer."))?.to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| unknown("The worker's answer could not be read."));
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(refused(&problem, request.session.is_some())),
        Err(_) => Err(unknown("The worker's answer could not be read.")),
    }
}

fn refused(problem: &Problem, in_session: bool) -> Failed {
    match problem.kind() {
        kind if in_session && sessions::is_gone(kind) => Failed::Gone,
        // It waited for its turn, and did not begin.
        "unavailable" | "overloaded" | "session-busy" | "rate-limited" => {
            Failed::Attempt(Attempt::NotSent { why: problem.detail.clone(), after: None })
        }
        "worker-lost" | "internal" => Failed::Attempt(Attempt::Unknown { why: problem.detail.clone() }),
        _ => Failed::Attempt(told(problem.detail.clone())),
    }
}

/// A failure that is nobody's but ours, of a run.
fn broke(error: &cofferdam_sandbox::Error) -> Attempt {
    use cofferdam_sandbox::Error;
    tracing::warn!(error = chain(error), "a run of an agent failed");
    match error {
        // The worker may have got it.
        Error::Workers(_) => Attempt::Unknown { why: "The worker did not answer.".to_owned() },
        _ => Attempt::NotSent { why: "This server could not start it.".to_owned(), after: None },
    }
}

/// A failure of something that may be asked again without harm.
fn later_or_told(error: &cofferdam_sandbox::Error) -> Attempt {
    match error.refused() {
        Some(problem) if problem.retryable => Attempt::NotSent { why: problem.detail.clone(), after: None },
        Some(problem) => told(problem.detail.clone()),
        None => {
            tracing::warn!(error = chain(error), "a session of an agent could not be made");
            Attempt::NotSent { why: "This server could not make a session.".to_owned(), after: None }
        }
    }
}

fn done(ctx: &RunContext, outcome: &Outcome, language: Language, kept: Option<&Kept>, note: Option<&str>) -> Attempt {
    let mut done = ToolDone { result: result(outcome, note), ..ToolDone::default() };
    if let Some(kept) = kept {
        done.state.insert(sessions::key(language), kept.after_run(ctx));
    }
    Attempt::Done(done.into())
}

/// The outcome as the model reads it.
fn result(outcome: &Outcome, note: Option<&str>) -> ToolResult {
    let mut text = String::new();
    let mut part = |title: &str, body: &str| {
        let body = body.trim_end_matches('\n');
        if !body.is_empty() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(title);
            text.push_str(body);
        }
    };
    part("", note.unwrap_or_default());
    part("", &outcome.stdout);
    part("stderr:\n", &outcome.stderr);
    for bundle in &outcome.results {
        let plain = bundle.get("text/plain").and_then(Value::as_str);
        let picture = bundle.keys().find(|kind| kind.starts_with("image/"));
        match (picture, plain, bundle.get("application/json")) {
            (Some(kind), plain, _) => part("", &format!("[a picture, {kind}, not shown{}]", described(plain))),
            (None, Some(plain), _) => part("result: ", plain),
            (None, None, Some(json)) => part("result: ", &json.to_string()),
            (None, None, None) => {}
        }
    }
    if let Some(error) = &outcome.error {
        match error.traceback.is_empty() {
            true => part("", &format!("{}: {}", error.name, error.message)),
            false => part("", &error.traceback),
        }
    }
    let files: Vec<String> =
        outcome.files.iter().take(MAX_FILES_SHOWN).map(|file| format!("{} ({} bytes)", file.path, file.size)).collect();
    if !files.is_empty() {
        let more = outcome.files.len().saturating_sub(files.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        part("files: ", &format!("{}{more}", files.join(", ")));
    }
    if text.is_empty() {
        text.push_str("(no output)");
    }
    let value = json!({
        "status": outcome.status.as_str(),
        "exit_code": outcome.exit_code,
        "files": outcome.files.iter().take(MAX_FILES_SHOWN).map(|file| json!({"path": file.path, "size": file.size})).collect::<Vec<_>>(),
    });
    ToolResult { text: bounded(text), value: Some(value), is_error: outcome.status != Status::Ok }
}

fn described(plain: Option<&str>) -> String {
    plain.map(|plain| format!(": {}", plain.chars().take(100).collect::<String>())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::HttpGrant;

    use super::*;

    fn outcome(json: Value) -> Outcome {
        let mut all = json!({"id": "run_1", "status": "ok", "exit_code": 0, "stdout": "", "stderr": "", "results": [],
            "files": [], "usage": {"wall_ms": 1.0, "cpu_ms": 1.0, "memory_peak_bytes": 1}});
        all.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn an_outcome_is_text_for_the_model() {
        let shown = result(
            &outcome(json!({"stdout": "a\n", "stderr": "warn\n",
                "results": [{"text/plain": "42"}, {"image/png": "QUJD", "text/plain": "<Figure>"}],
                "files": [{"path": "out.csv", "size": 7}]})),
            Some("note"),
        );
        assert_eq!(
            shown.text,
            "note\na\nstderr:\nwarn\nresult: 42\n[a picture, image/png, not shown: <Figure>]\nfiles: out.csv (7 bytes)"
        );
        assert!(!shown.is_error);
        let error = json!({"name": "ValueError", "message": "x", "traceback": "Traceback: ValueError: x"});
        let failed = result(&outcome(json!({"status": "error", "exit_code": 1, "error": error})), None);
        assert_eq!((failed.text.as_str(), failed.is_error), ("Traceback: ValueError: x", true));
        assert_eq!(result(&outcome(json!({})), None).text, "(no output)");
        let long = result(&outcome(json!({"stdout": "x".repeat(1 << 20)})), None);
        assert!(long.text.len() < 50_000);
    }

    #[test]
    fn refusals_say_whether_it_ran() {
        let kind = |problem: &Problem, in_session| match refused(problem, in_session) {
            Failed::Gone => "gone",
            Failed::Attempt(Attempt::NotSent { .. }) => "again",
            Failed::Attempt(Attempt::Unknown { .. }) => "unknown",
            Failed::Attempt(Attempt::Done(_)) => "told",
        };
        for (problem, in_session, expected) in [
            (Problem::session_lost("x"), true, "gone"),
            (Problem::not_found("x"), true, "gone"),
            (Problem::kernel_changed("x"), true, "gone"),
            (Problem::unavailable("x"), true, "again"),
            (Problem::overloaded("x"), false, "again"),
            (Problem::session_busy("x"), true, "again"),
            (Problem::worker_lost("x"), true, "unknown"),
            (Problem::invalid("x"), false, "told"),
            (Problem::denied("x"), false, "told"),
        ] {
            assert_eq!(kind(&problem, in_session), expected, "{problem:?}");
        }
    }

    #[test]
    fn a_run_has_no_more_time_than_its_task() {
        let options = |wall_ms, timeout_s| ToolOptions {
            limits: LimitsRequest { wall_ms, ..LimitsRequest::default() },
            timeout_s,
            ..ToolOptions::default()
        };
        let wall = |options: ToolOptions, left| limits(&options, Duration::from_secs(left)).wall_ms;
        assert_eq!(wall(options(None, None), 900), None);
        assert_eq!(wall(options(None, None), 7), Some(7_000));
        assert_eq!(wall(options(Some(60_000), None), 900), Some(60_000));
        assert_eq!(wall(options(Some(60_000), None), 10), Some(10_000));
        assert_eq!(wall(options(None, Some(86_400)), 900), Some(600_000));
    }

    #[test]
    fn only_a_first_call_that_reaches_nothing_is_repeated() {
        let mut options = ToolOptions::default();
        let mut state = BTreeMap::new();
        assert!(may_repeat(&state, &options));
        state.insert("run_code.python".to_owned(), Value::Null);
        assert!(!may_repeat(&state, &options));
        state.clear();
        options.grants.http.push(HttpGrant { host: "a.example".to_owned(), ..HttpGrant::default() });
        assert!(!may_repeat(&state, &options));
    }
}
