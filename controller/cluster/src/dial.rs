//! Connections to API servers: resolves names, refuses forbidden addresses, adds TLS and credentials by kube's own layers,
//! and bounds the time. Sends no request and reads no settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cofferdam_policy::{Cidr, is_public};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kube::client::{ClientBuilder, ConfigExt};
use tokio_rustls::rustls::pki_types::ServerName;
use tower::util::option_layer;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::ours::Ours;
use crate::pinned::Pinned;
use crate::{ClusterError, words};

/// The timeout from a name to a connection, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead connection ends after about twice this time.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const MAX_ADDRESSES: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IDLE: usize = 8;

/// The connection was not attempted, or took too long.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0} is an address of this machine or of its own network")]
    Forbidden(IpAddr),
    #[error("the name does not resolve")]
    NoName,
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Slow,
}

const fn v4(octets: [u8; 4], bits: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits))
}

const fn v6(first: u16, second: u16, bits: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), bits))
}

/// IPv4 ranges, and the IPv6 range of AWS' services, that lead to this machine, to its own network, or to a cloud's metadata.
const SPECIAL: [IpNet; 9] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([192, 0, 0, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    // The metadata services of Alibaba's and Azure's clouds.
    v4([100, 100, 100, 200], 32),
    v4([168, 63, 129, 16], 32),
    v6(0xfd00, 0x0ec2, 32),
];
/// Unique local IPv6 addresses, which clusters have.
const UNIQUE_LOCAL: IpNet = v6(0xfc00, 0, 7);

/// A caller's kubeconfig must not lead to this machine, link-local addresses, or the metadata services of clouds, unless the
/// operator has allowed the range. Private networks are allowed: that is where clusters are.
pub(crate) fn forbidden(address: IpAddr, allowed: &[Cidr]) -> bool {
    let address = address.to_canonical();
    // No IPv6 address that carries an IPv4 one is public or unique local.
    let usual = address.is_ipv4() || is_public(address) || UNIQUE_LOCAL.contains(&address);
    let special = !usual || SPECIAL.iter().any(|range| range.contains(&address));
    let unusable = address.is_unspecified() || address.is_multicast();
    unusable || (special && !allowed.iter().any(|range| range.contains(address)))
}

/// Makes a client. Pass `guard` for a caller's settings: forbidden addresses are then refused, except for the ranges in it.
/// Runs the program that an operator's kubeconfig names.
/// `ours` gets to know the credentials that are sent.
pub(crate) fn client(
    config: kube::Config,
    guard: Option<Arc<[Cidr]>>,
    ours: Arc<Ours>,
) -> Result<kube::Client, ClusterError> {
    let mut config = config;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    if config.proxy_url.is_some() {
        return Ok(ClientBuilder::try_from(config).map_err(|e| words::unbuilt(&e))?.build());
    }
    let mut connector = HttpConnector::new_with_resolver(Resolver { guard });
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE_INTERVAL));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL / 3));
    connector.set_keepalive_retries(Some(3));
    let connector = with_tls(&config, connector)?;
    let timed = service_fn(move |address: http::Uri| {
        let connecting = connector.clone().oneshot(address);
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| BoxError::from(DialError::Slow))?
        })
    });
    let http: Client<_, kube::client::Body> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .build(timed);
    let http = http.map_err(BoxError::from).map_request(move |request: http::Request<kube::client::Body>| {
        ours.note(&request);
        request
    });
    let http = config.extra_headers_layer().map_err(|e| words::unbuilt(&e))?.layer(http);
    let http = option_layer(config.auth_layer().map_err(|e| words::unbuilt(&e))?).layer(http);
    let http = config.base_uri_layer().layer(http);
    Ok(ClientBuilder::new(http, config.default_namespace.clone()).build())
}

/// TLS as kube sets it up, but for a server whose certificate is the kubeconfig's own. HTTP/1.1 only.
fn with_tls(
    config: &kube::Config,
    connector: HttpConnector<Resolver>,
) -> Result<HttpsConnector<HttpConnector<Resolver>>, ClusterError> {
    let mut tls = config.rustls_client_config().map_err(|e| words::unbuilt(&e))?;
    // A pod's own authority is read again by kube when it changes.
    let pinned =
        config.root_cert.as_deref().filter(|_| config.root_cert_file.is_none() && !config.accept_invalid_certs);
    if let Some(verifier) = pinned.and_then(Pinned::new) {
        tls.dangerous().set_certificate_verifier(Arc::new(verifier));
    }
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = ServerName::try_from(name.clone()).map_err(|_| words::no_server_name())?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_http1().wrap_connector(connector))
}

#[derive(Clone)]
struct Resolver {
    guard: Option<Arc<[Cidr]>>,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.guard.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| DialError::NoName)?;
            let found: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
            // One forbidden address is enough: a name that also leads to this machine is no API server's.
            if let Some(allowed) = guard
                && let Some(bad) = found.iter().find(|found| forbidden(found.ip(), &allowed))
            {
                return Err(DialError::Forbidden(bad.ip()));
            }
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_metadata_services_are_forbidden_and_clusters_are_not() {
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(forbidden(bad.parse().unwrap(), &[]), "{bad}");
        }
        for good in [
            "10.96.0.1",
            "172.16.0.1",
            "192.168.1.10",
            "100.64.0.1",
            "8.8.8.8",
            "fd12::1",
            "2600::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!forbidden(good.parse().unwrap(), &[]), "{good}");
        }
    }

    #[test]
    fn an_operator_allows_ranges() {
        let allowed = [Cidr::parse("127.0.0.0/8").unwrap(), Cidr::parse("0.0.0.0/32").unwrap()];
        assert!(!forbidden("127.0.0.1".parse().unwrap(), &allowed));
        assert!(!forbidden("::ffff:127.0.0.1".parse().unwrap(), &allowed));
        assert!(forbidden("169.254.169.254".parse().unwrap(), &allowed));
        assert!(forbidden("0.0.0.0".parse().unwrap(), &allowed));
    }
}
