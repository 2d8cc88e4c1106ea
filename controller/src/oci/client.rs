//! A registry's client with the operator's settings for it, and references as people write them.

use std::time::Duration;

use cofferdam_contract::Problem;
use cofferdam_registry::client::backoff::Patience;
use cofferdam_registry::{Client, Credentials, Reference, Target};

use super::failure;
use crate::Error;
use crate::services::App;

/// A pull or a push as a whole.
pub(super) const WHOLE: Duration = Duration::from_secs(300);
/// An answer without a large body, at least: with the longest silence of the settings where that is longer.
const ANSWER: Duration = Duration::from_secs(10);
const MAX_REFERENCE: usize = 512;

/// One artifact's place and how to get at it.
pub(super) struct Access {
    pub client: Client,
    pub reference: Reference,
}

/// # Errors
/// A text that is no reference, or a registry that the operator does not name.
pub(super) fn access(app: &App, text: &str) -> Result<Access, Error> {
    let plain = text.strip_prefix("oci://").unwrap_or(text);
    if plain.len() > MAX_REFERENCE {
        return Err(Problem::invalid(format!("oci: a reference has at most {MAX_REFERENCE} characters")).into());
    }
    let reference = Reference::parse_familiar(plain).map_err(|e| Problem::invalid(format!("oci: {e}")))?;
    let host = reference.registry();
    let Some(known) = app.config.registries.find(host) else {
        let named: Vec<&str> = app.config.registries.hosts().take(16).collect();
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        let detail = format!(
            "The registry {host:?} is not one that the operator names (COFFERDAM_REGISTRIES, or [registries] in the \
             configuration; now: {named})."
        );
        return Err(Problem::denied(detail).into());
    };
    let silence = app.config.registries.silence;
    let mut target = Target::new(reference.clone());
    target.plain_http = known.plain_http;
    if let Some((name, password)) = &known.credentials {
        target.credentials = Credentials::basic(name, password.expose());
    }
    // Somebody waits for it: once more where that may help, and not for long.
    target.patience = Patience {
        attempts: 2,
        first: Duration::from_millis(200),
        longest_retry_after: Duration::from_secs(5),
        answer: ANSWER.max(silence),
        chunk: WHOLE,
        silence,
        ..Patience::default()
    };
    let client = Client::new(&target).map_err(|e| failure::problem(&e, &reference))?;
    Ok(Access { client, reference })
}
