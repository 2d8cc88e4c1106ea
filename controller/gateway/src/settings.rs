//! The gateway's settings: the operator's policy, certificates, default and maximum bounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::ConfigError;
use cofferdam_policy::OperatorPolicy;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The bounds of one request in bytes and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// From the request's start to the end of the response's body.
    pub timeout: Duration,
}

impl Caps {
    pub const DEFAULT: Self =
        Self { request_bytes: 16 << 20, response_bytes: 64 << 20, timeout: Duration::from_secs(30) };
    pub const MAXIMUM: Self =
        Self { request_bytes: 4 << 30, response_bytes: 4 << 30, timeout: Duration::from_secs(3_600) };
}

#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Checked for every request: private ranges, banned hosts, secrets over plain HTTP.
    pub policy: Arc<OperatorPolicy>,
    /// Certificates of authorities that are trusted besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The bounds of a grant that sets none.
    pub default: Caps,
    /// The bounds that no grant exceeds.
    pub maximum: Caps,
    /// The longest silence of an upstream in the middle of an answer.
    pub idle: Duration,
}

impl GatewaySettings {
    pub fn new(policy: Arc<OperatorPolicy>, extra_roots: Vec<CertificateDer<'static>>) -> Self {
        let (network, maximum) = (&policy.network, Caps::MAXIMUM);
        let maximum = Caps {
            request_bytes: network.max_request_bytes.unwrap_or(maximum.request_bytes),
            response_bytes: network.max_response_bytes.unwrap_or(maximum.response_bytes),
            timeout: network.timeout_ms.map_or(maximum.timeout, Duration::from_millis),
        };
        Self { policy, extra_roots, default: Caps::DEFAULT, maximum, idle: Duration::from_secs(60) }
    }
}

/// Reads the certificates of `COFFERDAM_CA_FILE`.
///
/// # Errors
/// A file that cannot be read, or that has no certificate in it.
pub fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let refused = |why: String| ConfigError::value("COFFERDAM_CA_FILE", format!("{}: {why}", path.display()));
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|e| refused(e.to_string()))?;
    if found.is_empty() { Err(refused("the file has no PEM certificate".to_owned())) } else { Ok(found) }
}
