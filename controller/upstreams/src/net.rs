//! The network as upstreams see it: which addresses an organization's upstream may have, who signs certificates, the
//! environment's proxy, and the resolver. Shared by all upstreams of a process.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_policy::Cidr;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::proxy::EnvironmentProxy;
use crate::tls::Authorities;

/// The most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;
/// Lookups at once: each holds a thread of the system's resolver.
const MAX_LOOKUPS: usize = 32;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The one who has configured an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The operator, in the file: its upstreams may be anywhere.
    Operator,
    /// An organization, by the API: its upstreams have public addresses, or those that the operator opens.
    Organization(OrganizationId),
}

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
    pub(crate) private: Arc<[Cidr]>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) proxy: Arc<EnvironmentProxy>,
    pub(crate) resolver: Arc<dyn Resolve>,
}

impl Net {
    /// The network with the system's resolver and no proxy. `private`: the ranges that the operator opens to organizations.
    /// `roots`: the operator's own authorities, besides the system's.
    pub fn new(private: Vec<Cidr>, roots: Vec<CertificateDer<'static>>) -> Self {
        Self {
            private: private.into(),
            authorities: Arc::new(Authorities::new(roots)),
            proxy: Arc::default(),
            resolver: Arc::new(SystemResolver(Semaphore::new(MAX_LOOKUPS))),
        }
    }

    /// The same network with the environment's proxy, which the operator's upstreams use.
    pub fn with_proxy(mut self, proxy: EnvironmentProxy) -> Self {
        self.proxy = Arc::new(proxy);
        self
    }

    /// The same network with another resolver.
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }
}
