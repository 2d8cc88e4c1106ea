//! Parses the gateway's settings.

use std::path::PathBuf;

use cofferdam_core::Source;
use cofferdam_gateway::GatewayConfig;

use super::ConfigFile;

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> GatewayConfig {
    GatewayConfig { ca_file: source.text("COFFERDAM_CA_FILE").map(PathBuf::from).or_else(|| file.ca_file.clone()) }
}
