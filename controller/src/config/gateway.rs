//! The gateway's settings: certificates of the operator's own authorities, the key that secrets are encrypted with,
//! the upstream of models.

use std::path::PathBuf;

use super::{ConfigFile, Secret, Source};

#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// A PEM file of certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// 32 bytes in hex or base64; without it the data folder has a key of its own.
    pub encryption_key: Option<Secret>,
    /// Where models are, as OpenAI's SDKs say it: `https://api.openai.com/v1`.
    pub llm_base_url: Option<String>,
    /// The key for it; it never leaves this process but to that place.
    pub llm_key: Option<Secret>,
}

impl GatewayConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Self {
        Self {
            ca_file: source.text("COFFERDAM_CA_FILE").map(PathBuf::from).or_else(|| file.ca_file.clone()),
            encryption_key: source.text("COFFERDAM_ENCRYPTION_KEY").map(Secret::new),
            llm_base_url: source.text("OPENAI_BASE_URL"),
            llm_key: source.text("OPENAI_API_KEY").map(Secret::new),
        }
    }
}
