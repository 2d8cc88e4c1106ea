//! Proxies: their addresses, and the environment's `HTTPS_PROXY` with its exceptions. Opens no connection.
//!
//! The environment's proxy serves the operator's upstreams only: an organization's names its own, or goes without.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_core::Secret;

use crate::place::Place;

/// The most exceptions that are read from `NO_PROXY`.
const MAX_EXCEPTIONS: usize = 256;

/// A proxy that opens a way with `CONNECT`, and passes on requests without TLS.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) place: Place,
    /// The value of `proxy-authorization`.
    pub(crate) authorization: Option<Secret>,
}

impl Proxy {
    /// Parses a proxy's URL. `with_user`: it may hold a user name and a password.
    ///
    /// # Errors
    /// The reason, without the URL.
    pub(crate) fn parse(text: &str, with_user: bool) -> Result<Self, String> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let (mut plain, mut authorization) = (with_scheme.clone(), None);
        if with_user && let Some((scheme, rest)) = with_scheme.split_once("://") {
            let end = rest.find('/').unwrap_or(rest.len());
            if let Some((user, _)) = rest.get(..end).and_then(|authority| authority.rsplit_once('@')) {
                let decoded: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
                // Without a password the colon is there all the same.
                let pair = if user.contains(':') { decoded } else { [decoded, b":".to_vec()].concat() };
                authorization = Some(Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair))));
                plain = format!("{scheme}://{}", rest.get(user.len() + 1..).unwrap_or_default());
            }
        }
        let place = Place::parse(&plain)?;
        if !place.path.is_empty() {
            return Err("the URL of a proxy has no path".to_owned());
        }
        Ok(Self { place, authorization })
    }
}

/// The proxy of the process's environment, for the operator's upstreams.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentProxy {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Vec<String>,
}

impl EnvironmentProxy {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in lower or upper case. An empty one is as good as none.
    ///
    /// # Errors
    /// The variable's name and what is wrong with it.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let one = |name: &str| {
            let lower = name.to_ascii_lowercase();
            get(&lower).or_else(|| get(name)).filter(|text| !text.trim().is_empty())
        };
        let proxy = |name: &str| {
            let parse = |text: String| Proxy::parse(text.trim(), true).map_err(|why| format!("{name}: {why}"));
            one(name).map(parse).transpose()
        };
        let listed = one("NO_PROXY").unwrap_or_default();
        let names = listed.split([',', ' ']).map(|name| name.trim().to_ascii_lowercase());
        let exceptions = names.filter(|name| !name.is_empty()).take(MAX_EXCEPTIONS).collect();
        Ok(Self { https: proxy("HTTPS_PROXY")?, http: proxy("HTTP_PROXY")?, exceptions })
    }

    /// The proxy on the way to a place.
    pub(crate) fn of(&self, place: &Place) -> Option<Proxy> {
        let proxy = if place.https { &self.https } else { &self.http };
        let loopback = place.host == "localhost" || place.address.is_some_and(|address| address.is_loopback());
        (!loopback && !self.excepts(place)).then(|| proxy.clone()).flatten()
    }

    fn excepts(&self, place: &Place) -> bool {
        self.exceptions.iter().any(|exception| {
            if exception == "*" {
                return true;
            }
            if let (Some(address), Ok(range)) = (place.address, cofferdam_policy::Cidr::parse(exception)) {
                return range.contains(address);
            }
            let (name, port) = match exception.rsplit_once(':') {
                Some((name, port)) if port.parse::<u16>().is_ok() && !name.contains(':') => (name, port.parse().ok()),
                _ => (exception.as_str(), None),
            };
            let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
            let below = place.host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            !name.is_empty() && below && port.is_none_or(|port: u16| port == place.port)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<EnvironmentProxy, String> {
        EnvironmentProxy::read(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()))
    }

    #[test]
    fn the_environments_proxy_has_exceptions() {
        let read = environment(&[
            ("HTTPS_PROXY", "http://user:p%40ss@proxy.example:3128"),
            ("no_proxy", ".internal, b.example:8443, 10.0.0.0/8,c.example"),
        ]);
        let read = read.unwrap();
        for (url, through) in [
            ("https://api.example/v1", true),
            ("http://api.example/v1", false),
            ("https://x.internal", false),
            ("https://internal", false),
            ("https://notinternal", true),
            ("https://b.example:8443", false),
            ("https://b.example", true),
            ("https://10.2.3.4", false),
            ("https://11.2.3.4", true),
            ("https://a.c.example", false),
            ("https://127.0.0.1", false),
            ("https://localhost", false),
        ] {
            assert_eq!(read.of(&Place::parse(url).unwrap()).is_some(), through, "{url}");
        }
        let proxy = read.of(&Place::parse("https://api.example").unwrap()).unwrap();
        assert_eq!((proxy.place.host.as_str(), proxy.place.port), ("proxy.example", 3_128));
        assert_eq!(proxy.authorization.unwrap().expose(), "Basic dXNlcjpwQHNz");
        assert!(environment(&[("https_proxy", "*")]).is_err());
        assert!(environment(&[]).unwrap().of(&Place::parse("https://a.example").unwrap()).is_none());
    }

    #[test]
    fn a_written_proxy_has_no_password() {
        let why = Proxy::parse("http://u:hush-canary@p.example:1", false).unwrap_err();
        assert!(!why.contains("hush"), "{why}");
        assert!(Proxy::parse("http://p.example:1/path", false).is_err());
        assert_eq!(Proxy::parse("p.example:3128", false).unwrap().place.port, 3_128);
    }
}
