//! The caller of a door: an API key with the scope `run`, or a run token. Never decides which models it may use.

use std::sync::Arc;

use cofferdam_contract::Problem;
use cofferdam_core::Scope;
use cofferdam_http::{ApiError, Known, Peer, presented_key};
use cofferdam_identity::{Found, RUN_TOKEN_PREFIX, Refusal as RefusedCaller, RunToken};
use cofferdam_models::Narrow;
use cofferdam_usage::Who;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use crate::Doors;
use crate::refusal::Refusal;

const NO_KEY: &str = "Send an API key or a run token as `Authorization: Bearer`, `x-api-key` or `x-xpander-api-key`.";
const UNKNOWN_KEY: &str = "This API key is not known. Make one with `POST /v1/keys`.";
const UNKNOWN_TOKEN: &str = "This run token is not known, or it has ended. Make one with `POST /v1/run-tokens`.";
const NO_SCOPE: &str = "Calls of models need a key with the scope `run`, which this key does not have.";

/// A caller, and its right to call.
pub(crate) struct Caller {
    pub(crate) who: Who,
    pub(crate) narrow: Vec<Narrow>,
    pub(crate) right: Right,
}

/// A right to call, kept as long as its answer is on its way.
#[derive(Clone)]
pub(crate) enum Right {
    Key(Arc<CancellationToken>),
    Token(Arc<RunToken>),
}

impl Right {
    /// Cancelled when the right ends.
    pub(crate) fn ended(&self) -> &CancellationToken {
        match self {
            Self::Key(ended) => ended,
            Self::Token(token) => token.ended(),
        }
    }
}

/// The caller of a request. Marks the request's connection.
pub(crate) async fn caller(doors: &Doors, request: &Parts) -> Result<Caller, Refusal> {
    let found = find(doors, request).await;
    if let Some(known) = request.extensions.get::<Known>() {
        match &found {
            // A token is one client among many of its key's.
            Ok(Caller { right: Right::Token(token), .. }) => known.mark(&token.id),
            Ok(caller) => known.mark(&caller.who.key),
            Err(_) => known.forget(),
        }
    }
    found
}

async fn find(doors: &Doors, request: &Parts) -> Result<Caller, Refusal> {
    let address = request.extensions.get::<Peer>().map(|peer| peer.0.ip());
    let Some(key) = presented_key(&request.headers)? else {
        doors.keyring.refusals().count(RefusedCaller::unknown("no key", address));
        return Err(Refusal::unauthorized(NO_KEY));
    };
    let maybe_token = key.starts_with(RUN_TOKEN_PREFIX);
    if maybe_token && let Some(token) = doors.run_tokens.find(key).await.map_err(ApiError::from)? {
        // A token counts as the key that made it.
        let limits = doors.keyring.limits_of_key(&token.key, &token.organization);
        doors.rates.check(&token.key, &token.organization, &limits).await.map_err(Refusal::too_often)?;
        return Ok(of_token(token));
    }
    // A key that somebody has chosen may begin as tokens do.
    let caller = match doors.keyring.look(key).await.map_err(ApiError::from)? {
        Found::Caller(caller) => caller,
        Found::Ended { key, organization, why } => {
            doors.keyring.refusals().count(RefusedCaller::of(&key, &organization, why.as_str(), address));
            return Err(Refusal::unauthorized(why.sentence()));
        }
        Found::Unknown => {
            doors.keyring.refusals().count(RefusedCaller::unknown("unknown", address));
            return Err(Refusal::unauthorized(if maybe_token { UNKNOWN_TOKEN } else { UNKNOWN_KEY }));
        }
    };
    if !caller.scopes.cover(Scope::Run) {
        doors.keyring.refusals().count(RefusedCaller::of(&caller.key, &caller.organization, "scope", address));
        return Err(Problem::forbidden(NO_SCOPE).into());
    }
    let who = Who { organization: caller.organization.clone(), key: caller.key.clone(), agent: None, task: None };
    doors.rates.check(&who.key, &who.organization, &caller.limits).await.map_err(Refusal::too_often)?;
    Ok(Caller { who, narrow: Vec::new(), right: Right::Key(doors.keyring.watch(&caller)) })
}

fn of_token(token: Arc<RunToken>) -> Caller {
    let who = Who {
        organization: token.organization.clone(),
        key: token.key.clone(),
        agent: Some(token.agent.clone()),
        task: Some(token.task.clone()),
    };
    let limited = token.models.is_some() || token.max_tokens.is_some();
    let narrow = limited.then(|| Narrow {
        name: "the run token",
        models: token.models.clone(),
        exact: false,
        no_servers: false,
        max_tokens: token.max_tokens,
    });
    Caller { who, narrow: narrow.into_iter().collect(), right: Right::Token(token) }
}
