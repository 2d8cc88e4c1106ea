//! The operator's settings of the gateway.

use std::path::PathBuf;

use cofferdam_core::Secret;

/// Certificates of the operator's own authorities, and the upstream of models.
#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// A PEM file of certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The base URL of models, as OpenAI's SDKs take it: `https://api.openai.com/v1`.
    pub llm_base_url: Option<String>,
    /// The key for it. This process sends it nowhere else.
    pub llm_key: Option<Secret>,
}
