//! A base URL, parsed once into the one form that is checked, resolved and dialled. Pure.
//!
//! Odd notations of addresses and `..` are resolved by the WHATWG rules; user names, queries and fragments are refused.

use std::net::IpAddr;

use url::{Host, Url};

/// The longest base URL, in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// The place of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) https: bool,
    /// Lower case, in punycode, without a final dot; an address without brackets.
    pub(crate) host: String,
    /// The host, if it is an address.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    /// Empty, or begins with a slash and does not end with one.
    pub(crate) path: String,
}

impl Place {
    /// Parses a base URL.
    ///
    /// # Errors
    /// The reason, without the URL, which may hold a password.
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
        if text.contains('#') || text.contains('?') {
            return wrong("the URL has a query or a fragment");
        }
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains(['@', '%']) {
            return wrong("the URL has a user name, or percent-encoding in its host");
        }
        if authority.is_empty() || authority.ends_with(':') {
            return wrong("the URL has no host, or no port after the colon");
        }
        let Ok(url) = Url::parse(text) else { return wrong("the URL has an invalid host or port") };
        let (host, address) = match url.host() {
            Some(Host::Domain(name)) => match domain(name) {
                Some(name) => (name, None),
                None => return wrong("the URL has an invalid host name"),
            },
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => {
                let address = IpAddr::V6(address).to_canonical();
                (address.to_string(), Some(address))
            }
            None => return wrong("the URL has no host"),
        };
        let Some(port) = url.port_or_known_default().filter(|port| *port != 0) else {
            return wrong("the URL has an invalid port");
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
        let path = url.path().trim_end_matches('/');
        if !path.bytes().all(plain) {
            return wrong("the URL has a path with odd characters");
        }
        Ok(Self { https, host, address, port, path: path.to_owned() })
    }

    /// The `Host` header.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.https { 443 } else { 80 };
        match self.port == usual {
            true => self.bracketed(),
            false => format!("{}:{}", self.bracketed(), self.port),
        }
    }

    /// Host and port, always with the port.
    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// The place without this end of its path, if it has it.
    pub(crate) fn without(mut self, ends: &[&str]) -> Self {
        if let Some(end) = ends.iter().find(|end| self.path.ends_with(*end)) {
            self.path.truncate(self.path.len() - end.len());
        }
        self
    }
}

fn domain(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_one_form() {
        for (text, host, port, path) in [
            ("https://API.example.com/v1/", "api.example.com", 443, "/v1"),
            ("http://127.1:11434", "127.0.0.1", 11_434, ""),
            ("http://0x7f.0.0.1/", "127.0.0.1", 80, ""),
            ("https://[::ffff:10.0.0.1]/a", "10.0.0.1", 443, "/a"),
            ("https://[2001:db8::1]:8443/a/../b", "2001:db8::1", 8_443, "/b"),
            ("https://x.example./v1", "x.example", 443, "/v1"),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!((place.host.as_str(), place.port, place.path.as_str()), (host, port, path), "{text}");
        }
        assert_eq!(Place::parse("https://[2001:db8::1]:8443").unwrap().authority(), "[2001:db8::1]:8443");
        assert_eq!(Place::parse("http://a.example:80").unwrap().authority(), "a.example");
    }

    #[test]
    fn what_confuses_is_refused_and_not_repeated() {
        for text in [
            "api.example.com",
            "ftp://a.example",
            "https://u:hush-canary@a.example/v1",
            "https://a.example/v1?key=hush-canary",
            "https://a.example/v1#hush-canary",
            "https://a.example:0/",
            "https://a.example:/",
            "https://%61.example/",
            "https://a.example\\@b/",
            "https://a..example/",
            "https:///v1",
            "https://a.example/ hush-canary",
            "https://b\u{fc}cher.example/",
        ] {
            let why = Place::parse(text).unwrap_err();
            assert!(!why.contains("hush"), "{why}");
        }
        assert!(Place::parse(&format!("https://a.example/{}", "x".repeat(MAX_URL_BYTES))).is_err());
    }
}
