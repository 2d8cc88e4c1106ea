//! What a run is let do beyond its sandbox: what it asks for, or its session, and the operator allows. A run that asks
//! for what it does not get at all is refused, so that nobody finds out in the middle of it.

use std::time::{Duration, Instant};

use cofferdam_contract::{Grants, Limits, Problem, SessionId};

use super::App;
use crate::Error;
use crate::auth::Caller;
use crate::gateway::{Admitted, NO_MODELS, Pass};
use crate::policy::{check_grants, effective};

/// A run waits in its worker's queue before its own time begins.
const QUEUE: Duration = Duration::from_secs(60);

/// Refuses grants that no snippet can have, or that cannot be read.
///
/// # Errors
/// A problem that names the grant.
pub fn check(grants: &Grants) -> Result<(), Error> {
    if grants.is_empty() {
        return Ok(());
    }
    check_grants(grants).map_err(|e| Problem::invalid(format!("grants: {e}")))?;
    let for_tools = [
        ("keyvalue", grants.keyvalue.is_some(), "a snippet keeps things in a session's variables and files"),
        ("files", grants.files.is_some(), "a snippet's files last as long as its session"),
        ("config", !grants.config.is_empty(), "give a snippet `env`"),
    ];
    match for_tools.iter().find(|(_, asked, _)| *asked) {
        None => Ok(()),
        Some((name, _, instead)) => {
            Err(Problem::invalid(format!("grants.{name} is for deployed tools; {instead}.")).into())
        }
    }
}

/// What is left of checked grants under the operator's policy.
///
/// # Errors
/// [`Problem::denied`] where nothing is left of one of them.
pub fn allowed(app: &App, asked: &Grants) -> Result<Grants, Error> {
    if asked.is_empty() {
        return Ok(Grants::default());
    }
    let each = asked
        .http
        .iter()
        .map(|grant| Grants { http: vec![grant.clone()], ..Grants::default() })
        .chain(asked.secrets.iter().map(|grant| Grants { secrets: vec![grant.clone()], ..Grants::default() }))
        .chain(asked.tools.iter().map(|name| Grants { tools: vec![name.clone()], ..Grants::default() }))
        .chain(asked.llm.iter().map(|grant| Grants { llm: Some(grant.clone()), ..Grants::default() }));
    for one in each {
        let (left, notes) = effective(&one, &app.policy);
        if left.is_empty() {
            let why = notes.first().map_or_else(String::new, |note| format!("{} ({})", note.detail, note.by));
            return Err(Problem::denied(format!("grants: {why}.")).into());
        }
    }
    let left = effective(asked, &app.policy).0;
    if left.llm.is_some() && !app.gateway.has_models() {
        return Err(Problem::denied(format!("grants.llm: {NO_MODELS}")).into());
    }
    Ok(left)
}

/// Lets a run in at the gateway, for as long as what is returned lives.
///
/// # Errors
/// As [`allowed`].
pub fn admit(
    app: &App,
    caller: &Caller,
    asked: &Grants,
    session: Option<&SessionId>,
    limits: &Limits,
) -> Result<Admitted, Error> {
    if asked.is_empty() {
        return Ok(Admitted::default());
    }
    let wall = Duration::from_millis(limits.wall_ms);
    app.gateway.admit(Pass {
        caller: caller.clone(),
        tool: None,
        session: session.cloned(),
        grants: allowed(app, asked)?,
        depth: 0,
        // Twice: a run in a session may wait for the one before it.
        deadline: Instant::now() + wall * 2 + QUEUE,
    })
}
