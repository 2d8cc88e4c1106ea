//! The network as connectors see it: which addresses a server may have, who signs certificates, and the resolver.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_policy::{Cidr, to_dial};
use tokio::sync::{OnceCell, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;
/// Lookups at once: each holds a thread of the system's resolver.
const MAX_LOOKUPS: usize = 32;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses of a name, as a future.
pub type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Resolves names. Checks nothing: every address is checked before it is dialled.
pub trait Resolve: Send + Sync {
    /// Looks up a name.
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a>;
}

/// The system's resolver.
struct SystemResolver(Semaphore);

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            let look_up = async {
                let _place = self.0.acquire().await.map_err(io::Error::other)?;
                let found = tokio::net::lookup_host((host, 0)).await?;
                let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).take(MAX_ADDRESSES).collect();
                addresses.dedup();
                Ok(addresses)
            };
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            tokio::time::timeout(LOOKUP_TIMEOUT, look_up).await.map_err(late)?
        })
    }
}

/// The network.
#[derive(Clone)]
pub struct Net {
    /// The ranges that the operator opens to organizations, besides public addresses.
    private: Arc<[Cidr]>,
    operators: Arc<[CertificateDer<'static>]>,
    roots: Arc<OnceCell<Arc<RootCertStore>>>,
    pub(crate) resolver: Arc<dyn Resolve>,
}

impl Net {
    /// The network with the system's resolver. `private`: the ranges that the operator opens to organizations. `roots`: the
    /// operator's own authorities, besides the system's.
    pub fn new(private: Vec<Cidr>, roots: Vec<CertificateDer<'static>>) -> Self {
        Self {
            private: private.into(),
            operators: roots.into(),
            roots: Arc::default(),
            resolver: Arc::new(SystemResolver(Semaphore::new(MAX_LOOKUPS))),
        }
    }

    /// The same network with another resolver.
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// The address to dial instead of this one.
    ///
    /// # Errors
    /// The reason for which it must not be dialled.
    pub(crate) fn judge(&self, address: IpAddr, https: bool) -> Result<IpAddr, String> {
        let Some(address) = to_dial(address, &self.private) else {
            return Err(format!("{} is not an address that connectors may have", address.to_canonical()));
        };
        if !https && !self.private.iter().any(|range| range.contains(address)) {
            return Err(
                "the address begins with http://, and is not in a network that the operator has opened".to_owned()
            );
        }
        Ok(address)
    }

    /// A TLS connector that trusts these authorities as well.
    pub(crate) async fn tls(&self, own: &[CertificateDer<'static>]) -> Result<TlsConnector, String> {
        let operators = Arc::clone(&self.operators);
        let read = async || {
            let read = tokio::task::spawn_blocking(move || Arc::new(read_roots(&operators)));
            read.await.map_err(|_| "the system's authorities cannot be read".to_owned())
        };
        let mut roots = Arc::clone(self.roots.get_or_try_init(read).await?);
        if !own.is_empty() {
            Arc::make_mut(&mut roots).add_parsable_certificates(own.iter().cloned());
        }
        if roots.is_empty() {
            return Err("this machine has no certificates of authorities; set COFFERDAM_CA_FILE".to_owned());
        }
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|_| "TLS cannot be set up".to_owned())?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn read_roots(operators: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "cannot read certificates of the system");
    }
    roots.add_parsable_certificates(native.certs);
    roots.add_parsable_certificates(operators.iter().cloned());
    roots
}
