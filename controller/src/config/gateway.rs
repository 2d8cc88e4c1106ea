//! The gateway's settings: certificates of the operator's own authorities, the key that secrets are encrypted with.

use std::path::PathBuf;

use super::{ConfigFile, Secret, Source};

#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// A PEM file of certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// 32 bytes in hex or base64; without it the data folder has a key of its own.
    pub encryption_key: Option<Secret>,
}

impl GatewayConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Self {
        Self {
            ca_file: source.text("COFFERDAM_CA_FILE").map(PathBuf::from).or_else(|| file.ca_file.clone()),
            encryption_key: source.text("COFFERDAM_ENCRYPTION_KEY").map(Secret::new),
        }
    }
}
