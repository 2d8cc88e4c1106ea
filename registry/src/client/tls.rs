//! The two HTTP clients of a registry: one for the registry itself, one for other hosts that it names (storage, token
//! service). Neither follows redirects, and the second never connects to this machine or to link-local addresses such
//! as metadata services.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::causes::NoAddress;
use super::error::{ClientError, Kind};
use super::given::Given;

const MAX_CA: usize = 1 << 20;
const MAX_CERTIFICATES: usize = 1_000;

pub(super) fn config(registry: &str, plain_http: bool, ca: Option<&[u8]>) -> Result<ClientConfig, ClientError> {
    let wrong = |what: String| ClientError::new(Kind::Settings, registry, what);
    let (mut roots, mut given) = (RootCertStore::empty(), Vec::new());
    if !plain_http {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // The system's store may contain certificates that rustls rejects. The others count.
            let _ = roots.add(certificate);
        }
    }
    if let Some(pem) = ca {
        if pem.len() > MAX_CA {
            return Err(wrong("The CA file is larger than 1 MiB".to_owned()));
        }
        for certificate in CertificateDer::pem_slice_iter(pem).take(MAX_CERTIFICATES) {
            let certificate = certificate.map_err(|_| wrong("The CA file is not a valid PEM file".to_owned()))?;
            let added = roots.add(certificate.clone());
            added.map_err(|_| wrong("The CA file has an unusable certificate".to_owned()))?;
            given.push(certificate);
        }
        if given.is_empty() {
            return Err(wrong("The CA file holds no certificate (PEM, `-----BEGIN CERTIFICATE-----`)".to_owned()));
        }
    }
    let failed = || wrong("TLS could not be set up".to_owned());
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| failed())?;
    if given.is_empty() {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|_| failed())?;
    let verifier = Arc::new(Given::new(usual, given));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

pub(super) fn http(
    registry: &str,
    tls: ClientConfig,
    connect: Duration,
    own: bool,
    near: bool,
    direct: bool,
) -> Result<reqwest::Client, ClientError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .http1_only()
        .connect_timeout(connect)
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(8)
        .user_agent(concat!("cofferdam/", env!("CARGO_PKG_VERSION")))
        .referer(false);
    if direct {
        builder = builder.no_proxy();
    }
    let builder =
        if own { builder.dns_resolver(Arc::new(Anywhere)) } else { builder.dns_resolver(Arc::new(Outside { near })) };
    builder.build().map_err(|_| ClientError::new(Kind::Settings, registry, "The HTTP client could not be set up"))
}

/// Resolves the registry's own name, or its proxy's.
struct Anywhere;

impl Resolve for Anywhere {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { Ok(Box::new(lookup(&name).await?.into_iter()) as Addrs) })
    }
}

async fn lookup(name: &Name) -> Result<Vec<SocketAddr>, NoAddress> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| {
        let why = error.to_string();
        NoAddress(why.strip_prefix("failed to lookup address information: ").unwrap_or(&why).to_owned())
    })?;
    Ok(found.collect())
}

/// Resolves host names that a registry gave us.
struct Outside {
    near: bool,
}

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let near = self.near;
        Box::pin(async move {
            let found = lookup(&name).await?;
            let allowed: Vec<_> = found.into_iter().filter(|address| may_dial(address.ip(), near)).collect();
            if allowed.is_empty() {
                return Err("the name resolves to this machine or a link-local address".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// True if an address named by a registry may be dialled. Private ranges are allowed, because a registry and its
/// storage are often in one. `near`: the registry itself is on this machine.
pub(super) fn may_dial(address: IpAddr, near: bool) -> bool {
    const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || (v4.is_loopback() && !near))
        }
        IpAddr::V6(v6) => {
            !(v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6 == AWS_METADATA
                || (v6.is_loopback() && !near))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_cannot_send_us_to_the_machine_or_its_metadata() {
        for (address, far, near) in [
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fd00:ec2::254", false, false),
            ("fe80::1", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("10.1.2.3", true, true),
            ("8.8.8.8", true, true),
            ("2001:db8::1", true, true),
        ] {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!((may_dial(ip, false), may_dial(ip, true)), (far, near), "{address}");
        }
    }

    #[test]
    fn a_ca_file_holds_certificates() {
        for bad in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = config("r.example", true, Some(bad)).unwrap_err();
            assert_eq!(error.kind, Kind::Settings);
        }
        let key = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap();
        assert!(config("r.example", true, Some(key.cert.pem().as_bytes())).is_ok());
    }
}
