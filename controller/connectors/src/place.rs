//! An address parsed once into the one form that is checked, resolved and dialled. Pure.

use std::net::IpAddr;

use url::{Host, Url};

/// The longest address, in bytes.
const MAX_URL_BYTES: usize = 4_096;

/// An address, and what is dialled for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) url: Url,
    pub(crate) https: bool,
    /// Lower case, in punycode, without a final dot; an address without brackets.
    pub(crate) host: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

impl Place {
    /// Parses an address.
    ///
    /// # Errors
    /// The reason, without the address, which may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(why.to_owned());
        if text.len() > MAX_URL_BYTES {
            return Err(format!("the URL is longer than {MAX_URL_BYTES} bytes"));
        }
        if text.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
            return wrong("the URL has spaces, backslashes or characters beyond ASCII");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("the URL does not begin with http:// or https://");
        };
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return wrong("the URL does not begin with http:// or https://");
        }
        if text.contains('#') {
            return wrong("the URL has a fragment");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains(['@', '%']) {
            return wrong("the URL has a user name, or percent-encoding in its host");
        }
        if authority.is_empty() || authority.ends_with(':') {
            return wrong("the URL has no host, or no port after the colon");
        }
        match Url::parse(text) {
            Ok(url) => Self::of(url),
            Err(_) => wrong("the URL has an invalid host or port"),
        }
    }

    fn of(url: Url) -> Result<Self, String> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("the URL does not begin with http:// or https://".to_owned()),
        };
        let (host, address) = match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                let label = |label: &str| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                };
                if name.len() > 253 || !name.split('.').all(label) {
                    return Err("the URL has an invalid host name".to_owned());
                }
                (name.to_ascii_lowercase(), None)
            }
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => {
                let address = IpAddr::V6(address).to_canonical();
                (address.to_string(), Some(address))
            }
            None => return Err("the URL has no host".to_owned()),
        };
        let Some(port) = url.port_or_known_default().filter(|port| *port != 0) else {
            return Err("the URL has an invalid port".to_owned());
        };
        Ok(Self { url, https, host, address, port })
    }

    /// Another address, as a server names it, relative to this one.
    pub(crate) fn join(&self, text: &str) -> Result<Self, String> {
        let url = self.url.join(text).map_err(|_| "the server sends to an invalid address".to_owned())?;
        Self::parse(url.as_str())
    }

    /// True if both have scheme, host and port in common.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        (self.https, self.port, &self.host) == (other.https, other.port, &other.host)
    }

    /// The part up to the port.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// The `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port == if self.https { 443 } else { 80 } {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// Path and query, as they are sent.
    pub(crate) fn path_and_query(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (text, host, port) in [
            ("https://MCP.example.com/mcp", "mcp.example.com", 443),
            ("http://0x7f.1:9/", "127.0.0.1", 9),
            ("https://[::ffff:169.254.169.254]/", "169.254.169.254", 443),
            ("https://x.example./mcp?a=b", "x.example", 443),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!((place.host.as_str(), place.port), (host, port), "{text}");
        }
        let place = Place::parse("https://a.example:8443/mcp").unwrap();
        assert_eq!(place.origin(), "https://a.example:8443");
        assert!(place.same_origin(&place.join("/other").unwrap()));
        assert!(!place.same_origin(&place.join("https://a.example/mcp").unwrap()));
        assert!(place.join("javascript:alert(1)").is_err());
    }

    #[test]
    fn what_confuses_is_refused_and_not_repeated() {
        for text in
            ["ftp://a/", "https://u:canary@a.example/", "https://a.example/#canary", "https://a b/", "https:///x"]
        {
            assert!(!Place::parse(text).unwrap_err().contains("canary"), "{text}");
        }
    }
}
