//! Whether grants that are asked for can be meant: counts, names, patterns. What the operator allows is not asked here.

use cofferdam_contract::Grants;
use cofferdam_contract::grants::{
    HttpGrant, LlmGrant, MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, MAX_HTTP_GRANTS, MAX_NAMES,
};

use super::host::HostPattern;

/// The longest name of a secret, a variable or a tool.
const MAX_NAME: usize = 128;
const MAX_PREFIX: usize = 1 << 10;
const MAX_METHODS: usize = 16;
const MAX_MODELS: usize = 64;

/// What is wrong with grants, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct BadGrant {
    /// Such as `http[0].host`.
    pub path: String,
    pub what: String,
}

fn bad(path: impl Into<String>, what: impl Into<String>) -> BadGrant {
    BadGrant { path: path.into(), what: what.into() }
}

/// # Errors
/// The first thing that is wrong.
pub fn grants(grants: &Grants) -> Result<(), BadGrant> {
    if grants.http.len() > MAX_HTTP_GRANTS {
        return Err(bad("http", format!("at most {MAX_HTTP_GRANTS} hosts")));
    }
    for (number, grant) in grants.http.iter().enumerate() {
        http(grant).map_err(|(key, what)| bad(format!("http[{number}].{key}"), what))?;
    }
    names(grants)?;
    if let Some(grant) = &grants.keyvalue
        && (grant.max_bytes == 0 || grant.max_keys == 0)
    {
        return Err(bad("keyvalue", "max_bytes and max_keys are at least 1"));
    }
    if let Some(grant) = &grants.files
        && (grant.max_bytes == 0 || grant.max_files == 0)
    {
        return Err(bad("files", "max_bytes and max_files are at least 1"));
    }
    if let Some(grant) = &grants.llm {
        llm(grant).map_err(|(key, what)| bad(format!("llm.{key}"), what))?;
    }
    let bytes: usize = grants.config.iter().map(|(name, value)| name.len() + value.len()).sum();
    if grants.config.len() > MAX_CONFIG_VALUES || bytes > MAX_CONFIG_BYTES {
        return Err(bad("config", format!("at most {MAX_CONFIG_VALUES} values and {MAX_CONFIG_BYTES} bytes in all")));
    }
    for (name, value) in &grants.config {
        if name.is_empty() || name.contains(['=', '\0']) || name.len() > MAX_NAME || value.contains('\0') {
            let shown: String = name.chars().take(50).collect();
            return Err(bad("config", format!("{shown:?}: a name without `=`, a value without NUL")));
        }
    }
    Ok(())
}

pub(super) fn http(grant: &HttpGrant) -> Result<(), (&'static str, String)> {
    HostPattern::parse_grant(&grant.host).map_err(|what| ("host", what))?;
    if let Some(methods) = &grant.methods {
        let token = |m: &String| (1..=20).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if methods.is_empty() || methods.len() > MAX_METHODS || !methods.iter().all(token) {
            return Err((
                "methods",
                format!("1 to {MAX_METHODS} methods in upper case, such as GET; none given is all"),
            ));
        }
    }
    if let Some(prefix) = &grant.path_prefix {
        path_prefix(prefix).map_err(|what| ("path_prefix", what))?;
    }
    let sizes = [
        ("max_request_bytes", grant.max_request_bytes),
        ("max_response_bytes", grant.max_response_bytes),
        ("timeout_ms", grant.timeout_ms),
    ];
    match sizes.into_iter().find(|(_, size)| *size == Some(0)) {
        Some((name, _)) => Err((name, "at least 1".to_owned())),
        None => Ok(()),
    }
}

fn llm(grant: &LlmGrant) -> Result<(), (&'static str, String)> {
    let plain = |name: &String| (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if grant.models.is_empty() || grant.models.len() > MAX_MODELS || !grant.models.iter().all(plain) {
        return Err(("models", format!("1 to {MAX_MODELS} models' names without spaces, or `*`")));
    }
    match [("max_tokens", grant.max_tokens), ("max_requests", grant.max_requests)].into_iter().find(|(_, n)| *n == 0) {
        Some((name, _)) => Err((name, "at least 1".to_owned())),
        None => Ok(()),
    }
}

/// A prefix is compared with normalized paths, so it has to be normal itself.
fn path_prefix(prefix: &str) -> Result<(), String> {
    if !prefix.starts_with('/') || prefix.len() > MAX_PREFIX {
        return Err(format!("begins with `/` and has at most {MAX_PREFIX} characters"));
    }
    if !prefix.bytes().all(|b| b.is_ascii_graphic()) || prefix.contains(['?', '#', '\\', '%', '*']) {
        return Err("plain characters only: no `?`, `#`, `%`, `\\`, `*`, no spaces".to_owned());
    }
    if prefix.contains("//") || prefix.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("no empty segments, no `.` and no `..`".to_owned());
    }
    Ok(())
}

fn names(grants: &Grants) -> Result<(), BadGrant> {
    if grants.secrets.len() > MAX_NAMES || grants.tools.len() > MAX_NAMES {
        return Err(bad("secrets", format!("at most {MAX_NAMES} secrets, and as many tools")));
    }
    let mut variables = std::collections::BTreeSet::new();
    for (number, secret) in grants.secrets.iter().enumerate() {
        let name = &secret.name;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return Err(bad(format!("secrets[{number}].name"), "1 to 128 letters, digits, `-`, `_` or `.`"));
        }
        let variable = secret.variable();
        if variable.is_empty() || variable.len() > MAX_NAME || variable.contains(['=', '\0']) {
            return Err(bad(format!("secrets[{number}].env"), "a variable's name without `=`"));
        }
        if !variables.insert(variable) || grants.config.contains_key(variable) {
            return Err(bad(format!("secrets[{number}].env"), format!("{variable:?} is there twice")));
        }
    }
    for (number, name) in grants.tools.iter().enumerate() {
        if name != "*" && !tool_name(name) {
            return Err(bad(format!("tools[{number}]"), "a tool's name (1 to 64 of a-z, 0-9, `-`), or `*`"));
        }
    }
    Ok(())
}

/// Whether this can be a tool's name.
pub fn tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}
