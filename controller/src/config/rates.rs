//! Parses the limits of keys and organizations for which none is set, and the Redis that processes share.

use cofferdam_core::{ConfigError, OrganizationLimits, Secret, Source};
use cofferdam_identity::RatesConfig;

use super::ConfigFile;

/// The largest number that a limit may be.
const MAX_LIMIT: u32 = 1_000_000_000;

/// The address of the Redis. It may hold a password.
pub(super) fn redis(source: &Source<'_>, file: &ConfigFile) -> Option<Secret> {
    source.text("REDIS_URL").or_else(|| file.redis_url.clone()).map(Secret::new)
}

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<RatesConfig, ConfigError> {
    let (keys, organizations) = (&file.keys, &file.organizations);
    let limit = |name: &str, file| limit(source, name, file);
    Ok(RatesConfig {
        key_requests_per_minute: limit("COFFERDAM_KEY_REQUESTS_PER_MINUTE", keys.requests_per_minute)?,
        organization: OrganizationLimits {
            requests_per_minute: limit(
                "COFFERDAM_ORGANIZATION_REQUESTS_PER_MINUTE",
                organizations.requests_per_minute,
            )?,
            // The workers have their own: a worker may be shared by controllers.
            max_concurrent_runs: None,
            max_concurrent_tasks: limit("COFFERDAM_ORGANIZATION_MAX_TASKS", organizations.max_concurrent_tasks)?,
        },
    })
}

/// A limit of at least 1; `None` if there is none.
fn limit(source: &Source<'_>, name: &str, file: Option<u32>) -> Result<Option<u32>, ConfigError> {
    let limit = match source.text(name) {
        Some(text) => Some(text.trim().parse().map_err(|e| ConfigError::value(name, format!("{text:?}: {e}")))?),
        None => file,
    };
    match limit {
        None | Some(1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(ConfigError::value(name, format!("1 to {MAX_LIMIT}; leave it out for no limit"))),
    }
}
