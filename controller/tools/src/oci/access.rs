//! The client of a registry with the operator's settings, and the parsing of references.

use std::time::Duration;

use cofferdam_contract::Problem;
use cofferdam_registry::client::backoff::Patience;
use cofferdam_registry::{Client, Credentials, Reference, Target};

use super::{Artifacts, failure};
use crate::Error;

/// The time for a whole pull or push.
pub(super) const TRANSFER_TIMEOUT: Duration = Duration::from_secs(300);
/// The time for an answer without a large body, unless the operator's longest silence is longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REFERENCE: usize = 512;
/// Registries shown in a refusal.
const MAX_HOSTS_SHOWN: usize = 16;

/// One artifact and a client for its registry.
pub(super) struct Access {
    pub(super) client: Client,
    pub(super) reference: Reference,
}

impl Artifacts {
    /// # Errors
    /// An invalid reference, or a registry that the operator does not name.
    pub(super) fn access(&self, text: &str) -> Result<Access, Error> {
        let plain = text.strip_prefix("oci://").unwrap_or(text);
        if plain.len() > MAX_REFERENCE {
            return Err(Problem::invalid(format!("oci: a reference has at most {MAX_REFERENCE} characters")).into());
        }
        let reference = Reference::parse_familiar(plain).map_err(|e| Problem::invalid(format!("oci: {e}")))?;
        let host = reference.registry();
        let Some(known) = self.registries.find(host) else { return Err(self.not_named(host).into()) };
        let silence = self.registries.silence;
        let mut target = Target::new(reference.clone());
        target.plain_http = known.plain_http;
        if let Some((name, password)) = &known.credentials {
            target.credentials = Credentials::basic(name, password.expose());
        }
        // The caller waits: one retry, after a short pause, and some seconds for a registry that is busy.
        target.patience = Patience {
            attempts: 2,
            first: Duration::from_millis(200),
            limited: Duration::from_secs(5),
            answer: ANSWER_TIMEOUT.max(silence),
            chunk: TRANSFER_TIMEOUT,
            silence,
            ..Patience::default()
        };
        let client = Client::new(&target).map_err(|e| failure::problem(&e, &reference))?;
        Ok(Access { client, reference })
    }

    fn not_named(&self, host: &str) -> Problem {
        let named: Vec<&str> = self.registries.hosts().take(MAX_HOSTS_SHOWN).collect();
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        Problem::denied(format!(
            "The registry {host:?} is not one that the operator names (COFFERDAM_REGISTRIES, or [registries] in the \
             configuration; now: {named})."
        ))
    }
}
