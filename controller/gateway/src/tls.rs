//! TLS to upstreams: rustls with ring, the system's authorities and the operator's own. Certificates are always verified.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connector that trusts the system's authorities and `extra`. Reading the system's takes some milliseconds.
///
/// # Errors
/// No authority to trust.
pub(crate) fn connector(extra: &[CertificateDer<'static>]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "cannot read certificates of the system");
    }
    let (added, _) = roots.add_parsable_certificates(native.certs);
    let (own, refused) = roots.add_parsable_certificates(extra.iter().cloned());
    if refused > 0 {
        tracing::warn!(refused, "some certificates of COFFERDAM_CA_FILE are invalid");
    }
    if added + own == 0 {
        return Err("this machine has no certificates of authorities; set COFFERDAM_CA_FILE".to_owned());
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
