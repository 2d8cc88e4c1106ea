//! The operator's settings of the gateway.

use std::path::PathBuf;

/// Certificates of the operator's own authorities.
#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// A PEM file of certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}
