//! TLS to upstreams: rustls with ring, the system's authorities and the operator's own; nothing is ever not verified.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Reads the system's certificates, which takes some milliseconds.
///
/// # Errors
/// Where there is no authority at all to trust.
pub fn connector(extra: &[CertificateDer<'static>]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "certificates of the system could not be read");
    }
    let (added, _) = roots.add_parsable_certificates(native.certs);
    let (own, refused) = roots.add_parsable_certificates(extra.iter().cloned());
    if refused > 0 {
        tracing::warn!(refused, "certificates of COFFERDAM_CA_FILE cannot be used");
    }
    if added + own == 0 {
        return Err("this machine has no certificates of authorities; COFFERDAM_CA_FILE names some".to_owned());
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
