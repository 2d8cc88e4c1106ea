//! Parses the settings of models and of usage: the sections `[models]` and `[usage]`, and the variables by which the
//! providers' own tools are pointed at a server.

use cofferdam_core::{ConfigError, Source};
use cofferdam_models::settings::OperatorModels;
use cofferdam_upstreams::EnvironmentProxy;
use cofferdam_usage::UsageConfig;

use super::ConfigFile;

/// The longest time that records can be kept, in days.
const MAX_KEEP_DAYS: u32 = 36_500;

/// The operator's settings of models.
#[derive(Debug, Clone, Default)]
pub struct ModelsConfig {
    pub operator: OperatorModels,
    /// The proxy on the operator's way to upstreams.
    pub proxy: EnvironmentProxy,
    pub usage: UsageConfig,
}

/// `alone`: no other process uses the database.
pub(super) fn parse(
    source: &Source<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    file: &ConfigFile,
    alone: bool,
) -> Result<ModelsConfig, ConfigError> {
    let default = UsageConfig::default();
    Ok(ModelsConfig {
        operator: OperatorModels::parse(&file.models, source)?,
        proxy: EnvironmentProxy::read(env).map_err(|why| ConfigError::value("the proxy", why))?,
        usage: UsageConfig {
            keep_days: days(source, "COFFERDAM_USAGE_DAYS", file.usage.days, default.keep_days)?,
            content_keep_days: days(
                source,
                "COFFERDAM_USAGE_CONTENT_DAYS",
                file.usage.content_days,
                default.content_keep_days,
            )?,
            alone,
            ..default
        },
    })
}

/// A number of days; 0 is for ever.
fn days(source: &Source<'_>, name: &str, file: Option<u32>, default: u32) -> Result<u32, ConfigError> {
    let days = match source.text(name) {
        Some(text) => text.trim().parse().map_err(|e| ConfigError::value(name, format!("{text:?}: {e}")))?,
        None => file.unwrap_or(default),
    };
    match days {
        0..=MAX_KEEP_DAYS => Ok(days),
        _ => Err(ConfigError::value(name, format!("at most {MAX_KEEP_DAYS} days; 0 keeps records for ever"))),
    }
}
