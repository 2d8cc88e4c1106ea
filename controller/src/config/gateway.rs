//! Parses the gateway's settings.

use std::path::PathBuf;

use cofferdam_core::{Secret, Source};
use cofferdam_gateway::GatewayConfig;

use super::ConfigFile;

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> GatewayConfig {
    GatewayConfig {
        ca_file: source.text("COFFERDAM_CA_FILE").map(PathBuf::from).or_else(|| file.ca_file.clone()),
        llm_base_url: source.text("OPENAI_BASE_URL"),
        llm_key: source.text("OPENAI_API_KEY").map(Secret::new),
    }
}
