//! Lets a run or a call in: gives it a token for its grants, and placeholders for its secrets. Takes a few
//! microseconds; secrets are not read before the first request that may need them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cofferdam_contract::{Grants, SessionId};
use cofferdam_core::{Caller, random, random_bits};
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::covers::Rule;
use crate::kept::Kept;
use crate::refusal::Refusal;
use crate::secrets::Held;
use crate::token::Tokens;
use crate::upstream::Upstream;
use crate::{Error, services};

/// Refusals of one token that are logged at level `info`.
const MAX_LOGGED: u32 = 10;
/// Requests of one token at once; further ones wait.
const MAX_REQUESTS: usize = 32;
/// The beginning of every placeholder. A placeholder passes through URLs, headers and JSON unchanged.
const PLACEHOLDER: &str = "cofferdam-secret-";

/// An admitted run or call, and its grants.
#[derive(Debug, Clone)]
pub struct Pass {
    pub caller: Caller,
    /// The tool that is called. None: a snippet runs.
    pub tool: Option<String>,
    /// Runs of one session get the same placeholders, because variables outlive a run there.
    pub session: Option<SessionId>,
    /// The effective grants: asked for, and allowed by the operator.
    pub grants: Grants,
    /// The number of calls of tools that this one is in.
    pub depth: u32,
    pub deadline: Instant,
}

/// A valid token's pass, and its state.
pub(crate) struct Admission {
    pub(crate) pass: Pass,
    rules: OnceLock<Vec<Rule>>,
    /// The secrets' values, from the first use on.
    pub(crate) held: OnceCell<Arc<Held>>,
    /// One for each granted secret, in the grants' order.
    pub(crate) placeholders: Vec<String>,
    pub(crate) revoked: CancellationToken,
    places: Arc<Semaphore>,
    kept: OnceLock<Arc<Kept>>,
    /// Requests to models so far.
    pub(crate) asked_models: AtomicU64,
    /// Refusals so far.
    refused: AtomicU32,
}

impl Admission {
    pub(crate) fn rules(&self) -> &[Rule] {
        self.rules.get_or_init(|| Rule::read(&self.pass.grants.http))
    }

    /// The token's own idle connections.
    pub(crate) fn kept(&self, upstream: &Upstream) -> &Arc<Kept> {
        self.kept.get_or_init(|| upstream.pool())
    }

    /// A place among the token's requests.
    ///
    /// # Errors
    /// The token is revoked.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| Refusal::token())
    }

    /// Logs a refusal. Only the first ones are logged at level `info`, because a run decides how many there are.
    pub(crate) fn log(&self, service: &str, refusal: &Refusal) {
        let (by, detail) = (refusal.by.as_str(), &refusal.problem.detail);
        let (organization, tool) = (&self.pass.caller.organization, self.pass.tool.as_deref());
        if self.refused.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED {
            tracing::info!(%organization, tool, service, by, detail, "refused");
        } else {
            tracing::debug!(%organization, tool, service, by, detail, "refused");
        }
    }
}

/// A run's token and variables. Dropping it revokes the token and ends the requests that are under way with it.
#[derive(Default)]
pub struct Admitted {
    /// `None` if the grants need no gateway.
    pub token: Option<String>,
    /// The placeholders, by variable.
    pub env: BTreeMap<String, String>,
    known: Option<(Arc<Tokens>, u128)>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some((tokens, bits)) = self.known.take() {
            tokens.revoke(bits);
        }
    }
}

pub(crate) fn admit(gateway: &str, key: &[u8; 32], tokens: &Arc<Tokens>, pass: Pass) -> Result<Admitted, Error> {
    if !pass.grants.needs_gateway() && pass.grants.secrets.is_empty() {
        return Ok(Admitted::default());
    }
    let placeholders = placeholders(key, &pass)?;
    let variables = pass.grants.secrets.iter().map(|grant| grant.variable().to_owned());
    let mut env: BTreeMap<String, String> = variables.zip(placeholders.iter().cloned()).collect();
    for (name, value) in services::serving(&pass.grants).flat_map(|(_, service)| service.variables()) {
        if !pass.grants.config.contains_key(name) {
            env.entry(name.to_owned()).or_insert(value);
        }
    }
    let bits = random_bits()?;
    let admission = Admission {
        pass,
        rules: OnceLock::new(),
        held: OnceCell::new(),
        placeholders,
        revoked: CancellationToken::new(),
        places: Arc::new(Semaphore::new(MAX_REQUESTS)),
        kept: OnceLock::new(),
        asked_models: AtomicU64::new(0),
        refused: AtomicU32::new(0),
    };
    tokens.insert(bits, Arc::new(admission));
    Ok(Admitted { token: Some(format!("{gateway}.{bits:032x}")), env, known: Some((Arc::clone(tokens), bits)) })
}

/// Placeholders are unknown outside of the run, so foreign text that a tool passes on contains none that would be
/// replaced. Runs of a session share them.
fn placeholders(key: &[u8; 32], pass: &Pass) -> Result<Vec<String>, Error> {
    if pass.grants.secrets.is_empty() {
        return Ok(Vec::new());
    }
    let mut base = Sha256::new_with_prefix(key);
    match &pass.session {
        Some(session) => {
            base.update(b"session\0");
            base.update(pass.caller.organization.as_str());
            base.update(b"\0");
            base.update(session.as_str());
        }
        None => {
            base.update(b"run\0");
            base.update(random::<16>()?);
        }
    }
    let placeholder = |name: &str| {
        let digest = base.clone().chain_update(b"\0").chain_update(name).finalize();
        format!("{PLACEHOLDER}{}", hex::encode(digest.get(..16).unwrap_or_default()))
    };
    Ok(pass.grants.secrets.iter().map(|grant| placeholder(&grant.name)).collect())
}
