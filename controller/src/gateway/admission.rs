//! Letting a run or a call in: what it may do, the token that says so, the placeholders that it gets for secrets.
//! Costs a few microseconds; secrets are not read before the first request that may need them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cofferdam_contract::{Grants, SessionId};
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use super::covers::Rule;
use super::refusal::Refusal;
use super::secrets::Held;
use super::token::Tokens;
use crate::Error;
use crate::auth::{Caller, hex};
use crate::clock::{random, random_bits};

/// Refusals of one token in the log.
const MOST_TOLD: u32 = 10;
/// Requests of one token at once; further ones wait.
const AT_ONCE: usize = 32;
/// How every placeholder begins. With what follows it passes through URLs, headers and JSON unchanged.
pub const PLACEHOLDER: &str = "cofferdam-secret-";

/// Who is let in, and for what.
#[derive(Debug, Clone)]
pub struct Pass {
    pub caller: Caller,
    /// The tool that is called; none for a snippet.
    pub tool: Option<String>,
    /// Runs of one session get the same placeholders, because variables outlive a run there.
    pub session: Option<SessionId>,
    /// Effective: asked for, and allowed by the operator.
    pub grants: Grants,
    /// How many calls of tools this one is within.
    pub depth: u32,
    pub deadline: Instant,
}

/// A pass that is good, and what was found out for it.
pub struct Admission {
    pub pass: Pass,
    pub rules: OnceLock<Vec<Rule>>,
    /// The secrets' values, from the first use on.
    pub held: OnceCell<Arc<Held>>,
    /// For each granted secret, in the grants' order.
    pub placeholders: Vec<String>,
    pub revoked: CancellationToken,
    pub places: Arc<Semaphore>,
    /// Requests to models so far.
    pub asked_models: AtomicU64,
    /// Refusals that the log has.
    told: AtomicU32,
}

impl Admission {
    pub fn rules(&self) -> &[Rule] {
        self.rules.get_or_init(|| Rule::read(&self.pass.grants.http))
    }

    /// Logs a refusal, the first of them at least: a run decides how many there are.
    pub fn tell(&self, service: &str, refusal: &Refusal) {
        let (by, detail) = (refusal.by.as_str(), &refusal.problem.detail);
        let (organization, tool) = (&self.pass.caller.organization, self.pass.tool.as_deref());
        if self.told.fetch_add(1, Ordering::Relaxed) < MOST_TOLD {
            tracing::info!(%organization, tool, service, by, detail, "refused");
        } else {
            tracing::debug!(%organization, tool, service, by, detail, "refused");
        }
    }
}

/// What a run gets. Dropping it revokes the token and ends what is under way with it.
#[derive(Default)]
pub struct Admitted {
    /// None where nothing is granted that the gateway carries out.
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

pub(super) fn admit(gateway: &str, key: &[u8; 32], tokens: &Arc<Tokens>, pass: Pass) -> Result<Admitted, Error> {
    if !pass.grants.needs_gateway() && pass.grants.secrets.is_empty() {
        return Ok(Admitted::default());
    }
    let placeholders = placeholders(key, &pass)?;
    let variables = pass.grants.secrets.iter().map(|grant| grant.variable().to_owned());
    let mut env: BTreeMap<String, String> = variables.zip(placeholders.iter().cloned()).collect();
    if pass.grants.llm.is_some() {
        for (name, value) in super::llm::variables() {
            if !pass.grants.config.contains_key(name) {
                env.entry(name.to_owned()).or_insert(value);
            }
        }
    }
    let bits = random_bits()?;
    let admission = Admission {
        pass,
        rules: OnceLock::new(),
        held: OnceCell::new(),
        placeholders,
        revoked: CancellationToken::new(),
        places: Arc::new(Semaphore::new(AT_ONCE)),
        asked_models: AtomicU64::new(0),
        told: AtomicU32::new(0),
    };
    tokens.insert(bits, Arc::new(admission));
    Ok(Admitted { token: Some(format!("{gateway}.{bits:032x}")), env, known: Some((Arc::clone(tokens), bits)) })
}

/// Nobody outside of the run can know its placeholders: text from elsewhere that a tool passes on can contain none that
/// would be replaced. Runs of a session share them.
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
        format!("{PLACEHOLDER}{}", hex(digest.get(..16).unwrap_or_default()))
    };
    Ok(pass.grants.secrets.iter().map(|grant| placeholder(&grant.name)).collect())
}
