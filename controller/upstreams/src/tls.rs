//! TLS to upstreams: rustls with ring, the system's authorities, the operator's, and the upstream's own. Certificates are
//! always verified.

use std::io;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::error::TlsFailure;

/// The authorities of all upstreams. The system's are read when the first one needs TLS.
pub(crate) struct Authorities {
    operators: Vec<CertificateDer<'static>>,
    read: OnceCell<(Arc<RootCertStore>, TlsConnector)>,
}

impl Authorities {
    pub(crate) fn new(operators: Vec<CertificateDer<'static>>) -> Self {
        Self { operators, read: OnceCell::new() }
    }

    async fn read(&self) -> Result<&(Arc<RootCertStore>, TlsConnector), TlsFailure> {
        self.read
            .get_or_try_init(|| async {
                let operators = self.operators.clone();
                let read = move || {
                    let roots = Arc::new(roots(operators));
                    connector(Arc::clone(&roots)).map(|connector| (roots, connector))
                };
                tokio::task::spawn_blocking(read).await.map_err(|_| TlsFailure::Broken)?
            })
            .await
    }

    /// A connector that trusts these authorities as well.
    pub(crate) async fn connector(&self, own: &[CertificateDer<'static>]) -> Result<TlsConnector, TlsFailure> {
        if own.is_empty() {
            return Ok(self.read().await?.1.clone());
        }
        // A machine without authorities may have upstreams that bring their own.
        let mut roots = match self.read().await {
            Ok((roots, _)) => RootCertStore::clone(roots),
            Err(_) => RootCertStore::empty(),
        };
        roots.add_parsable_certificates(own.iter().cloned());
        connector(Arc::new(roots))
    }
}

fn roots(operators: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "cannot read certificates of the system");
    }
    roots.add_parsable_certificates(native.certs);
    let (_, refused) = roots.add_parsable_certificates(operators);
    if refused > 0 {
        tracing::warn!(refused, "some certificates of COFFERDAM_CA_FILE are invalid");
    }
    roots
}

fn connector(roots: Arc<RootCertStore>) -> Result<TlsConnector, TlsFailure> {
    if roots.is_empty() {
        return Err(TlsFailure::NoAuthorities);
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|_| TlsFailure::Broken)?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The reason for which a handshake failed.
pub(crate) fn failure(error: &io::Error) -> TlsFailure {
    let Some(Error::InvalidCertificate(why)) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return TlsFailure::Broken;
    };
    match why {
        // A private authority that was made anew has the old one's name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::UnknownAuthority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFailure::WrongName,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFailure::Expired,
        _ => TlsFailure::BadCertificate,
    }
}
