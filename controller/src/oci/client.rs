//! A registry's client with the operator's settings for it, and references as people write them.

use std::time::Duration;

use cofferdam_contract::Problem;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio_rustls::rustls::crypto::ring;

use crate::Error;
use crate::services::App;

const CONNECT: Duration = Duration::from_secs(10);
/// The library's own patience is a little longer, so that it is we who say that a blob stalls.
const BESIDE: Duration = Duration::from_secs(1);
/// A pull or a push as a whole.
pub(super) const WHOLE: Duration = Duration::from_secs(300);
const MAX_REFERENCE: usize = 512;

/// One artifact's place and how to get at it.
pub(super) struct Access {
    pub client: Client,
    pub auth: RegistryAuth,
    pub reference: Reference,
    /// The longest silence in the middle of a blob.
    pub silence: Duration,
}

/// # Errors
/// A text that is no reference, or a registry that the operator does not name.
pub(super) fn access(app: &App, text: &str) -> Result<Access, Error> {
    let plain = text.strip_prefix("oci://").unwrap_or(text);
    if plain.len() > MAX_REFERENCE {
        return Err(Problem::invalid(format!("oci: a reference has at most {MAX_REFERENCE} characters")).into());
    }
    let reference: Reference = plain.parse().map_err(|e| {
        Problem::invalid(format!("oci: {plain:?} is no reference such as registry/repository:tag: {e}"))
    })?;
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
    // Where there is one already, it is the same.
    let _ = ring::default_provider().install_default();
    let protocol = if known.plain_http { ClientProtocol::Http } else { ClientProtocol::Https };
    let silence = app.config.registries.silence;
    let config = ClientConfig {
        protocol,
        platform_resolver: None,
        read_timeout: Some(silence + BESIDE),
        connect_timeout: Some(CONNECT),
        use_monolithic_push: true,
        max_concurrent_upload: 2,
        user_agent: concat!("cofferdam/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    let client = Client::try_from(config).map_err(|e| super::failure::problem(&e, &reference))?;
    let auth = match &known.credentials {
        Some((name, password)) => RegistryAuth::Basic(name.clone(), password.expose().to_owned()),
        None => RegistryAuth::Anonymous,
    };
    Ok(Access { client, auth, reference, silence })
}
