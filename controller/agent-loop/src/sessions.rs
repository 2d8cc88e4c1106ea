//! The sandbox sessions of a thread: found by the thread's state, copied when the thread was forked, put to rest between tasks.
//! They belong to the key that made the thread, whoever's task uses them. Never runs code.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_contract::{Language, SessionId, ThreadId};
use cofferdam_core::{Caller, Failure as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::RunContext;

/// The keys of the thread's state: one session a kernel.
const PREFIX: &str = "run_code.";
/// The state of the thread that this one was forked from, as it was then.
const FORKED: &str = "forked";
const KERNELS: [Language; 2] = [Language::Python, Language::JavaScript];
/// The time that putting a session to rest, or ending one, may take.
const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// A session as the thread's state has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    session: SessionId,
    /// The key that it belongs to.
    key: String,
    /// The thread that it was made for: a fork's state has its original's session.
    thread: ThreadId,
    /// Runs in it so far.
    runs: u64,
}

/// A session that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub session: SessionId,
    /// The key that it belongs to.
    pub caller: Caller,
    runs: u64,
}

impl Kept {
    /// The thread's state after a run in it.
    pub(crate) fn after_run(&self, ctx: &RunContext) -> Value {
        let stored = Stored {
            session: self.session.clone(),
            key: self.caller.key.clone(),
            thread: ctx.thread.id.clone(),
            runs: self.runs.saturating_add(1),
        };
        serde_json::to_value(stored).unwrap_or_default()
    }

    /// A session that was made for the thread just now.
    pub(crate) fn made(ctx: &RunContext, session: SessionId) -> Self {
        Self { session, caller: owner(ctx), runs: 0 }
    }
}

/// The thread's session, as it was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// There was none yet.
    None,
    Own(Kept),
    /// A copy of the session of the thread that this one was forked from. True: that one has gone on since.
    Copied(Kept, bool),
    /// There was one, and it is gone.
    Lost,
}

/// The state's key for a language's session.
pub(crate) fn key(language: Language) -> String {
    format!("{PREFIX}{}", language.kernel())
}

/// True if the thread has had a session, or the one that it was forked from.
pub(crate) fn any(state: &BTreeMap<String, Value>) -> bool {
    let forked = state.get(FORKED).and_then(Value::as_object).into_iter().flat_map(|state| state.keys());
    state.keys().chain(forked).any(|name| name.starts_with(PREFIX))
}

/// The key that the thread's sessions belong to.
pub(crate) fn owner(ctx: &RunContext) -> Caller {
    of_key(ctx, &ctx.thread.api_key)
}

fn of_key(ctx: &RunContext, key: &str) -> Caller {
    Caller { key: key.to_owned(), ..ctx.caller.clone() }
}

fn stored(state: &BTreeMap<String, Value>, language: Language) -> Option<Stored> {
    let own = state.get(&key(language));
    let found = own.or_else(|| state.get(FORKED)?.get(key(language)))?;
    serde_json::from_value(found.clone()).ok()
}

/// Finds the session for a language, and copies it where it is another thread's.
///
/// # Errors
/// The store or a worker cannot be asked now.
pub(crate) async fn find(ctx: &RunContext, language: Language) -> Result<Found, crate::tools::Later> {
    let own = stored(&ctx.thread.state, language);
    if let Some(own) = own.as_ref().filter(|own| own.thread == ctx.thread.id) {
        let caller = of_key(ctx, &own.key);
        return Ok(Found::Own(Kept { session: own.session.clone(), caller, runs: own.runs }));
    }
    let original = match own.as_ref().map(|own| &own.thread).or(ctx.thread.forked_from.as_ref()) {
        Some(thread) => ctx.parts.tasks.store().thread(&ctx.task.organization, thread).await?,
        None => None,
    };
    let now = original.and_then(|row| stored(&row.state, language));
    let Some(from) = own.clone().or_else(|| now.clone()) else { return Ok(Found::None) };
    let gone_on = now.is_some_and(|now| now.session != from.session || now.runs > from.runs);
    let caller = of_key(ctx, &from.key);
    match ctx.parts.sandboxes.fork_session(&caller, &from.session, 1).await {
        Ok(copies) => Ok(match copies.into_iter().next() {
            Some(copy) => Found::Copied(Kept { session: copy.id, caller, runs: from.runs }, gone_on),
            None => Found::Lost,
        }),
        Err(error) if error.refused().is_some_and(|problem| is_gone(problem.kind())) => Ok(Found::Lost),
        Err(error) => Err(error.into()),
    }
}

/// True for the refusals of a session whose state nobody has any more.
pub(crate) fn is_gone(kind: &str) -> bool {
    matches!(kind, "not-found" | "session-lost" | "kernel-changed")
}

/// Ends a session that the thread's state will not name. In the background; else it ends when its time is over.
pub(crate) fn forget(ctx: &RunContext, kept: Kept) {
    let sandboxes = std::sync::Arc::clone(&ctx.parts.sandboxes);
    tokio::spawn(async move {
        let ended = sandboxes.delete_session(&kept.caller, &kept.session);
        if let Ok(Err(error)) = tokio::time::timeout(REST_TIMEOUT, ended).await {
            tracing::debug!(session = %kept.session, %error, "a session that no thread knows could not be ended");
        }
    });
}

/// Writes the thread's sessions to disk: they survive their worker, and take no memory. In the background; a session that is not
/// suspended now is suspended when it has been idle for some minutes.
pub(crate) fn suspend(ctx: &RunContext) {
    for language in KERNELS {
        let Some(own) = stored(&ctx.thread.state, language).filter(|own| own.thread == ctx.thread.id) else { continue };
        let (sandboxes, caller) = (std::sync::Arc::clone(&ctx.parts.sandboxes), of_key(ctx, &own.key));
        tokio::spawn(async move {
            let suspended = sandboxes.suspend_session(&caller, &own.session);
            if let Ok(Err(error)) = tokio::time::timeout(REST_TIMEOUT, suspended).await {
                tracing::debug!(session = %own.session, %error, "a session was not suspended");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_by_its_kernel() {
        assert_eq!(key(Language::TypeScript), key(Language::JavaScript));
        assert_ne!(key(Language::Python), key(Language::JavaScript));
        let mut state = BTreeMap::from([("plan".to_owned(), Value::Null)]);
        assert!(!any(&state));
        let kept = Stored {
            session: SessionId::from_random(1),
            key: "key_1".to_owned(),
            thread: ThreadId::from_random(2),
            runs: 3,
        };
        state.insert(key(Language::Python), serde_json::to_value(&kept).unwrap());
        assert!(any(&state));
        assert_eq!(stored(&state, Language::Python), Some(kept.clone()));
        assert_eq!(stored(&state, Language::JavaScript), None);
        let mut fork = BTreeMap::from([(FORKED.to_owned(), serde_json::to_value(&state).unwrap())]);
        assert!(any(&fork));
        assert_eq!(stored(&fork, Language::Python), Some(kept.clone()));
        fork.insert(FORKED.to_owned(), serde_json::json!({"plan": 1}));
        assert!(!any(&fork));
        state.insert(key(Language::JavaScript), serde_json::json!({"session": "../x"}));
        assert_eq!(stored(&state, Language::JavaScript), None, "what is not ours is no session");
    }
}
