//! How many sessions there may be and how long one lives, in seconds.

use cofferdam_contract::session::MAX_TTL_S;

use super::{ConfigError, ConfigFile, Source};

#[derive(Debug, Clone, Copy)]
pub struct SessionsConfig {
    /// Sessions of all keys together, live and suspended.
    pub max: u64,
    pub max_per_key: u64,
    /// From its making to its end, however much it is used.
    pub max_life_s: u64,
    /// Idle time until the worker suspends it.
    pub idle_suspend_s: u64,
}

impl SessionsConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<Self, ConfigError> {
        let file = &file.sessions;
        let max = source.number("COFFERDAM_MAX_SESSIONS", file.max, 20_000)?;
        Ok(Self {
            max,
            max_per_key: source.number("COFFERDAM_MAX_SESSIONS_PER_KEY", file.max_per_key, max)?,
            max_life_s: source.number("COFFERDAM_SESSION_MAX_LIFE_S", file.max_life_s, MAX_TTL_S)?,
            idle_suspend_s: source.number("COFFERDAM_IDLE_SUSPEND_S", file.idle_suspend_s, 300)?,
        })
    }
}
