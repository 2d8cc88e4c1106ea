//! Parses the limits of sessions, their number and lifetime, and of API keys.

use cofferdam_contract::session::MAX_TTL_S;
use cofferdam_core::{ConfigError, Source};
use cofferdam_identity::KeysConfig;
use cofferdam_sandbox::SessionsConfig;

use super::ConfigFile;

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<SessionsConfig, ConfigError> {
    let file = &file.sessions;
    let max = source.number("COFFERDAM_MAX_SESSIONS", file.max, 20_000)?;
    Ok(SessionsConfig {
        max,
        max_per_key: source.number("COFFERDAM_MAX_SESSIONS_PER_KEY", file.max_per_key, max)?,
        max_life_s: source.number("COFFERDAM_SESSION_MAX_LIFE_S", file.max_life_s, MAX_TTL_S)?,
        idle_suspend_s: source.number("COFFERDAM_IDLE_SUSPEND_S", file.idle_suspend_s, 300)?,
    })
}

pub(super) fn keys(source: &Source<'_>, file: &ConfigFile) -> Result<KeysConfig, ConfigError> {
    let default = KeysConfig::default().max_per_organization;
    let set = file.keys.max_per_organization;
    Ok(KeysConfig { max_per_organization: source.number("COFFERDAM_MAX_KEYS_PER_ORGANIZATION", set, default)? })
}
