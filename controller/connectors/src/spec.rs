//! The documents of connectors: checks, and the seal of their secrets, which are bound to the place that they are sent to.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_contract::work::{ConnectorAuth, ConnectorSpec, Sealed};
use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::Vault;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::error::ConnectorError;
use crate::hidden::Hidden;
use crate::names::is_offered;
use crate::net::Net;
use crate::place::Place;

const MAX_NAME_BYTES: usize = 64;
const MAX_HEADERS: usize = 32;
const MAX_VALUE_BYTES: usize = 8 << 10;
const MAX_PATTERNS: usize = 256;
const MAX_PATTERN_BYTES: usize = 128;
const MAX_SCOPES: usize = 64;
const MAX_SCOPE_BYTES: usize = 256;
const MAX_CA_BYTES: usize = 64 << 10;
pub(crate) const DEFAULT_TIMEOUT_S: u64 = 120;
const MAX_TIMEOUT_S: u64 = 3_600;
pub(crate) const DEFAULT_IDLE_S: u64 = 60;
pub(crate) const DEFAULT_CONCURRENCY: u32 = 16;
const MAX_CONCURRENCY: u32 = 64;

/// Headers that belong to the connection or the protocol.
const OURS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The secrets of a connector, as they are sealed.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) headers: BTreeMap<String, Hidden>,
    /// The key, token or client secret.
    pub(crate) auth: Option<Hidden>,
}

fn wrong(why: impl Into<String>) -> Problem {
    Problem::invalid(why)
}

/// Checks the name of a connector.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    match !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(wrong(format!("name: 1 to {MAX_NAME_BYTES} of a-z, 0-9, `-` and `_`"))),
    }
}

/// Checks a document.
pub(crate) fn check(spec: &ConnectorSpec, net: &Net) -> Result<(), Problem> {
    let place = Place::parse(&spec.url).map_err(|why| wrong(format!("url: {why}")))?;
    if let Some(address) = place.address {
        net.judge(address, place.https).map_err(|why| wrong(format!("url: {why}")))?;
    }
    if spec.headers.len() > MAX_HEADERS {
        return Err(wrong(format!("headers: at most {MAX_HEADERS}")));
    }
    for (name, value) in &spec.headers {
        check_header(name).map_err(|why| wrong(format!("headers: {why}")))?;
        check_value(&format!("headers.{name}"), value)?;
        if name.eq_ignore_ascii_case("authorization") && spec.auth != ConnectorAuth::None {
            return Err(wrong("headers: `authorization` is what `auth` sends; leave one of them out"));
        }
    }
    check_auth(&spec.auth)?;
    let patterns = spec.only.iter().flatten().chain(&spec.exclude);
    if patterns.clone().count() > MAX_PATTERNS
        || patterns.clone().any(|one| one.is_empty() || one.len() > MAX_PATTERN_BYTES)
    {
        return Err(wrong(format!("only, exclude: at most {MAX_PATTERNS} patterns of 1 to {MAX_PATTERN_BYTES} bytes")));
    }
    if spec.rename.len() > MAX_PATTERNS || spec.rename.values().any(|name| !is_offered(name)) {
        return Err(wrong(format!("rename: at most {MAX_PATTERNS} new names of 1 to 64 letters, digits, `_` and `-`")));
    }
    if spec.prefix.as_deref().is_some_and(|prefix| !is_offered(prefix) || prefix.len() > 32) {
        return Err(wrong("prefix: 1 to 32 letters, digits, `_` and `-`"));
    }
    if spec.timeout_s.is_some_and(|s| !(1..=MAX_TIMEOUT_S).contains(&s)) {
        return Err(wrong(format!("timeout_s: 1 to {MAX_TIMEOUT_S}")));
    }
    if spec.idle_s.is_some_and(|s| !(1..=MAX_TIMEOUT_S).contains(&s)) {
        return Err(wrong(format!("idle_s: 1 to {MAX_TIMEOUT_S}")));
    }
    if spec.concurrency.is_some_and(|n| !(1..=MAX_CONCURRENCY).contains(&n)) {
        return Err(wrong(format!("concurrency: 1 to {MAX_CONCURRENCY}")));
    }
    certificates(spec.ca.as_deref()).map_err(|why| wrong(format!("ca: {why}")))?;
    Ok(())
}

fn check_auth(auth: &ConnectorAuth) -> Result<(), Problem> {
    match auth {
        ConnectorAuth::None => Ok(()),
        ConnectorAuth::ApiKey { header, key } => {
            if let Some(header) = header {
                check_header(header).map_err(|why| wrong(format!("auth.header: {why}")))?;
            }
            check_value("auth.key", key)
        }
        ConnectorAuth::Bearer { token } => check_value("auth.token", token),
        ConnectorAuth::Oauth2 { client_id, client_secret, issuer, scopes, .. } => {
            let word =
                |text: &str, max| (1..=max).contains(&text.len()) && text.bytes().all(|b| (0x21..0x7f).contains(&b));
            if client_id.as_deref().is_some_and(|id| !word(id, 1_024)) {
                return Err(wrong("auth.client_id: 1 to 1,024 visible characters of ASCII"));
            }
            if client_secret.is_some() && client_id.is_none() {
                return Err(wrong("auth.client_secret: needs `client_id`"));
            }
            if let Some(issuer) = issuer {
                Place::parse(issuer).map_err(|why| wrong(format!("auth.issuer: {why}")))?;
            }
            if let Some(secret) = client_secret {
                check_value("auth.client_secret", secret)?;
                // Otherwise the MCP server, which may be anybody's, would choose who gets it.
                if issuer.is_none() {
                    return Err(wrong("auth.client_secret: needs `issuer`, the authorization server that it is for"));
                }
            }
            let good = |scope: &String| word(scope, MAX_SCOPE_BYTES) && !scope.contains(['"', '\\']);
            match scopes.len() <= MAX_SCOPES && scopes.iter().all(good) {
                true => Ok(()),
                false => Err(wrong(format!("auth.scopes: at most {MAX_SCOPES} words of visible characters"))),
            }
        }
    }
}

fn check_header(name: &str) -> Result<(), String> {
    let known = HeaderName::try_from(name).map_err(|_| "there is a name that no header has".to_owned())?;
    match OURS.contains(&known.as_str()) || known.as_str().starts_with("mcp-") {
        true => Err(format!("`{known}` belongs to the protocol")),
        false => Ok(()),
    }
}

fn check_value(field: &str, value: &Sealed) -> Result<(), Problem> {
    let text = value.expose();
    match !text.trim().is_empty() && text.len() <= MAX_VALUE_BYTES && HeaderValue::from_str(text).is_ok() {
        true => Ok(()),
        false => Err(wrong(format!("{field}: 1 to {MAX_VALUE_BYTES} bytes that a header can have"))),
    }
}

/// The certificates of a text in PEM.
pub(crate) fn certificates(pem: Option<&str>) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(pem) = pem else { return Ok(Vec::new()) };
    if pem.len() > MAX_CA_BYTES {
        return Err(format!("at most {MAX_CA_BYTES} bytes"));
    }
    let (mut found, mut rest) = (Vec::new(), pem);
    while let Some((_, after)) = rest.split_once("-----BEGIN CERTIFICATE-----") {
        let Some((body, others)) = after.split_once("-----END CERTIFICATE-----") else { break };
        let body: String = body.split_whitespace().collect();
        let der = BASE64_STANDARD.decode(body).map_err(|_| "a certificate is not in base64".to_owned())?;
        found.push(CertificateDer::from(der));
        rest = others;
    }
    if found.is_empty() { Err("has no certificate in PEM".to_owned()) } else { Ok(found) }
}

/// The place that secrets are sent to: with any of it changed, stored ones do not open.
fn destination(spec: &ConnectorSpec) -> String {
    let origin = Place::parse(&spec.url).map(|place| place.origin()).unwrap_or_default();
    format!("{origin}\0{}", spec.ca.as_deref().unwrap_or_default())
}

fn context(organization: &OrganizationId, name: &str, spec: &ConnectorSpec) -> String {
    format!("connector\0{}\0{name}\0{}", organization.as_str(), destination(spec))
}

/// The secret of `auth`.
fn secret_of(auth: &ConnectorAuth) -> Option<&Sealed> {
    match auth {
        ConnectorAuth::None => None,
        ConnectorAuth::ApiKey { key, .. } => Some(key),
        ConnectorAuth::Bearer { token } => Some(token),
        ConnectorAuth::Oauth2 { client_secret, .. } => client_secret.as_ref(),
    }
}

/// The authorization server that a document names.
fn issuer_of(auth: &ConnectorAuth) -> Option<&str> {
    match auth {
        ConnectorAuth::Oauth2 { issuer, .. } => issuer.as_deref(),
        _ => None,
    }
}

/// The secrets of a document. Those that it keeps are taken from the stored one.
///
/// # Errors
/// It keeps a value that is not stored for this place.
pub(crate) fn secrets(spec: &ConnectorSpec, before: Option<(&ConnectorSpec, &Secrets)>) -> Result<Secrets, Problem> {
    let before = before.filter(|(old, _)| destination(old) == destination(spec));
    let missing = |field: &str| {
        wrong(format!(
            "{field}: there is no stored value for this host; give the value itself (values are bound to `url` and `ca`)"
        ))
    };
    let mut found = Secrets::default();
    for (name, value) in &spec.headers {
        let value = match value.is_kept() {
            true => before.and_then(|(_, old)| old.headers.get(name)).cloned().ok_or_else(|| missing(name))?,
            false => Hidden::new(value.expose()),
        };
        found.headers.insert(name.clone(), value);
    }
    found.auth = match secret_of(&spec.auth) {
        Some(secret) if secret.is_kept() => {
            let same = |old: &ConnectorSpec| {
                std::mem::discriminant(&old.auth) == std::mem::discriminant(&spec.auth)
                    && issuer_of(&old.auth) == issuer_of(&spec.auth)
            };
            let kept = before.filter(|(old, _)| same(old)).and_then(|(_, old)| old.auth.clone());
            Some(kept.ok_or_else(|| missing("auth"))?)
        }
        Some(secret) => Some(Hidden::new(secret.expose())),
        None => None,
    };
    Ok(found)
}

/// True if whoever was logged in before is not any more.
pub(crate) fn forgets(old: &ConnectorSpec, new: &ConnectorSpec) -> bool {
    let client = |spec: &ConnectorSpec| match &spec.auth {
        ConnectorAuth::Oauth2 { client_id, issuer, per_person, .. } => {
            Some((client_id.clone(), issuer.clone(), *per_person))
        }
        _ => None,
    };
    let fresh = secret_of(&new.auth).is_some_and(|secret| !secret.is_kept());
    old.url != new.url || old.ca != new.ca || client(old) != client(new) || fresh
}

pub(crate) fn seal(
    vault: &Vault,
    organization: &OrganizationId,
    name: &str,
    spec: &ConnectorSpec,
    secrets: &Secrets,
) -> Result<String, ConnectorError> {
    let json = Zeroizing::new(serde_json::to_vec(secrets)?);
    Ok(vault.seal(&context(organization, name, spec), &json)?)
}

pub(crate) fn unseal(
    vault: &Vault,
    organization: &OrganizationId,
    name: &str,
    spec: &ConnectorSpec,
    sealed: &str,
) -> Result<Secrets, ConnectorError> {
    Ok(serde_json::from_slice(&vault.unseal(&context(organization, name, spec), sealed)?)?)
}
