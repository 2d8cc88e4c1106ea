//! Accepts a server's certificate that the kubeconfig itself contains, although it is marked as an authority's: small clusters
//! and proxies are made so, and kubectl takes them. Its time, its names, its purpose and the server's key are verified as always.
//! Relaxes nothing else.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The object identifiers of the extension that limits a certificate's purposes, and of those for a server, in DER.
const PURPOSES: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const SERVER: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const ANY: &[u8] = &[0x06, 0x04, 0x55, 0x1d, 0x25, 0x00];

#[derive(Debug)]
pub(crate) struct Pinned {
    usual: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Pinned {
    /// `None` if the certificates cannot be trusted at all, which the usual way explains.
    pub(crate) fn new(authorities: &[Vec<u8>]) -> Option<Self> {
        let pinned: Vec<CertificateDer<'static>> = authorities.iter().cloned().map(CertificateDer::from).collect();
        let mut roots = RootCertStore::empty();
        for certificate in &pinned {
            roots.add(certificate.clone()).ok()?;
        }
        let provider = Arc::new(ring::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        Some(Self { usual, pinned })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.usual.verify_server_cert(server, intermediates, name, ocsp, now) {
            // The time is compared before this is found.
            Err(error) if is_authority(&error) && self.pinned.iter().any(|pinned| pinned == server) => {
                if !may_be_a_server(server) {
                    return Err(error);
                }
                verify_server_name(&ParsedCertificate::try_from(server)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, server, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, server, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Returns true if an authority's certificate was presented as a server's, and nothing was found wrong before.
pub(crate) fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Returns true if the certificate names no purposes, or a server's among them.
fn may_be_a_server(certificate: &[u8]) -> bool {
    let has = |part: &[u8]| certificate.windows(part.len()).any(|window| window == part);
    !has(PURPOSES) || has(SERVER) || has(ANY)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

    use super::*;

    #[test]
    fn a_pinned_certificate_is_a_servers_only_if_its_purposes_say_so() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
        for (purposes, taken) in [
            (vec![], true),
            (vec![ServerAuth], true),
            (vec![ClientAuth, ServerAuth], true),
            (vec![Any], true),
            (vec![ClientAuth], false),
            (vec![ClientAuth, CodeSigning], false),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["api.example".to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.extended_key_usages.clone_from(&purposes);
            let made = params.self_signed(&key).unwrap();
            let pinned = Pinned::new(&[made.der().to_vec()]).unwrap();
            let name = ServerName::try_from("api.example").unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
            let verified = pinned.verify_server_cert(made.der(), &[], &name, &[], now);
            assert_eq!(verified.is_ok(), taken, "{purposes:?}");
        }
    }
}
