//! Connections to API servers: names to addresses, which of those may be dialled, TLS and credentials by kube's own
//! layers, and a time for all of it. It asks nothing and reads no settings.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{ClientBuilder, ConfigExt};
use tower::util::option_layer;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::ClusterError;
use super::words;
use crate::gateway::is_public;
use crate::policy::Cidr;

/// From a name to a connection, TLS among it.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which nobody is, as far as TCP can tell, ends after about a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);
const MOST_ADDRESSES: usize = 16;
const IDLE: Duration = Duration::from_secs(30);
const MOST_IDLE: usize = 8;

/// Why there was no connection, where it is not the network's doing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0} is an address of this machine or its network's own")]
    Forbidden(IpAddr),
    #[error("the name is not known")]
    NoName,
    #[error("no connection within {} s", CONNECT.as_secs())]
    Slow,
}

/// Whether a server of somebody else's choice must not be dialled there: this machine, link-local addresses and the
/// metadata services of clouds. Private networks are where clusters are.
pub(super) fn forbidden(address: IpAddr, allowed: &[Cidr]) -> bool {
    let address = address.to_canonical();
    let special = match address {
        IpAddr::V4(v4) => {
            let [first, second, third, _] = v4.octets();
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || first == 0
                || first >= 240
                || (first, second, third) == (192, 0, 0)
                // The metadata services of Alibaba's and Azure's clouds.
                || [[100, 100, 100, 200], [168, 63, 129, 16]].contains(&v4.octets())
        }
        // Global addresses and unique local ones, those of AWS' services in it taken out. Nothing that carries IPv4.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            !is_public(address) && (first & 0xfe00 != 0xfc00 || (first, second) == (0xfd00, 0x0ec2))
        }
    };
    let unusable = address.is_unspecified() || address.is_multicast();
    unusable || (special && !allowed.iter().any(|range| range.contains(address)))
}

/// A client for these settings. `guard` is for settings of somebody else: the addresses that may be dialled all the same.
/// May run the program that an operator's kubeconfig names.
pub(super) fn client(config: kube::Config, guard: Option<Arc<[Cidr]>>) -> Result<kube::Client, ClusterError> {
    let mut config = config;
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    if config.proxy_url.is_some() {
        return Ok(ClientBuilder::try_from(config).map_err(|e| words::unbuilt(&e))?.build());
    }
    let mut connector = HttpConnector::new_with_resolver(Resolver { guard });
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE / 3));
    connector.set_keepalive_retries(Some(3));
    let connector = config.rustls_https_connector_with_connector(connector).map_err(|e| words::unbuilt(&e))?;
    let timed = service_fn(move |address: http::Uri| {
        let connecting = connector.clone().oneshot(address);
        Box::pin(async move {
            tokio::time::timeout(CONNECT, connecting).await.map_err(|_| BoxError::from(DialError::Slow))?
        })
    });
    let http: Client<_, kube::client::Body> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MOST_IDLE)
        .build(timed);
    let http = config.extra_headers_layer().map_err(|e| words::unbuilt(&e))?.layer(http.map_err(BoxError::from));
    let http = option_layer(config.auth_layer().map_err(|e| words::unbuilt(&e))?).layer(http);
    let http = config.base_uri_layer().layer(http);
    Ok(ClientBuilder::new(http, config.default_namespace.clone()).build())
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
            let found: Vec<SocketAddr> = found.take(MOST_ADDRESSES).collect();
            // All of them: a name that also leads here is nobody's API server.
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
