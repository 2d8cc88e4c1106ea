//! Accepts one certificate more than the usual rules do: a self-signed one that the user gave in the CA file and that the
//! server presents itself, although it is marked as a CA's. Its name, its time, its purpose and the server's key are
//! verified all the same. Relaxes nothing else.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// The object identifiers of the extension that limits a certificate's purposes, and of those for a server, in DER.
const PURPOSES: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const SERVER: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const ANY: &[u8] = &[0x06, 0x04, 0x55, 0x1d, 0x25, 0x00];

#[derive(Debug)]
pub(super) struct Given {
    usual: Arc<WebPkiServerVerifier>,
    /// The certificates of the CA file.
    given: Vec<CertificateDer<'static>>,
}

impl Given {
    pub(super) fn new(usual: Arc<WebPkiServerVerifier>, given: Vec<CertificateDer<'static>>) -> Self {
        Self { usual, given }
    }
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.usual.verify_server_cert(server, intermediates, name, ocsp, now) {
            // The time was compared before this is found; a test keeps watch over that order.
            Err(error) if is_ca_of_its_own(&error) && self.given.iter().any(|given| given == server) => {
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

/// True if a CA's certificate was presented as a server's, and nothing else was found wrong before.
pub(super) fn is_ca_of_its_own(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// True if the certificate names no purposes, or a server's among them.
fn may_be_a_server(certificate: &[u8]) -> bool {
    let has = |part: &[u8]| certificate.windows(part.len()).any(|window| window == part);
    !has(PURPOSES) || has(SERVER) || has(ANY)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    struct Made {
        params: CertificateParams,
        key: KeyPair,
        der: CertificateDer<'static>,
    }

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["r.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        change(&mut params);
        let der = params.self_signed(&key).unwrap().der().clone();
        Made { params, key, der }
    }

    fn verify(given: &Made, presented: &CertificateDer<'_>, name: &str, year: i32) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(given.der.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let now = rcgen::date_time_ymd(year, 6, 1).unix_timestamp();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.try_into().unwrap()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Given::new(usual, vec![given.der.clone()]).verify_server_cert(presented, &[], &name, &[], now).map(drop)
    }

    #[test]
    fn only_the_very_certificate_is_accepted_with_its_name_and_its_time() {
        let own = made(|_| {});
        verify(&own, &own.der, "r.example", 2030).unwrap();
        let refused = |given: &Made, presented: &CertificateDer<'_>, name: &str, year: i32| {
            verify(given, presented, name, year).unwrap_err()
        };
        let error = refused(&own, &own.der, "s.example", 2030);
        assert!(matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })), "{error}");
        let error = refused(&own, &own.der, "r.example", 2041);
        assert!(matches!(error, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{error}");
        let error = refused(&own, &own.der, "r.example", 2019);
        assert!(matches!(error, Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })), "{error}");
        // Another one with the same names, the same key, or signed by the one that was given.
        assert!(is_ca_of_its_own(&refused(&own, &made(|_| {}).der, "r.example", 2030)));
        let mut again = own.params.clone();
        again.not_after = rcgen::date_time_ymd(2041, 1, 1);
        let again = again.self_signed(&own.key).unwrap();
        assert!(is_ca_of_its_own(&refused(&own, again.der(), "r.example", 2030)));
        let below = made(|_| {});
        let below = below.params.signed_by(&below.key, &Issuer::from_params(&own.params, &own.key)).unwrap();
        assert!(is_ca_of_its_own(&refused(&own, below.der(), "r.example", 2030)));
    }

    #[test]
    fn its_purposes_count() {
        let client = made(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        assert!(is_ca_of_its_own(&verify(&client, &client.der, "r.example", 2030).unwrap_err()));
        let both = [ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let server = made(|params| params.extended_key_usages = both.to_vec());
        verify(&server, &server.der, "r.example", 2030).unwrap();
    }

    #[test]
    fn what_is_no_ca_is_verified_as_usual() {
        let ca = made(|_| {});
        let leaf = made(|params| params.is_ca = IsCa::NoCa);
        let leaf = leaf.params.signed_by(&leaf.key, &Issuer::from_params(&ca.params, &ca.key)).unwrap();
        verify(&ca, leaf.der(), "r.example", 2030).unwrap();
        assert!(verify(&ca, leaf.der(), "s.example", 2030).is_err());
        assert!(verify(&made(|_| {}), leaf.der(), "r.example", 2030).is_err());
    }
}
