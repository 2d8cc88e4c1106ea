//! The target of a request: a URL parsed once, into the one form that is checked, resolved and sent. Pure.
//!
//! Filters are bypassed where two parsers read one URL differently. The text is therefore parsed once, by the WHATWG rules
//! (as browsers do it: odd notations of addresses, `..` and IDN are resolved), after parts that only serve to confuse are
//! refused, and every later step uses the result.

use std::net::IpAddr;

use cofferdam_contract::uplink::MAX_URL_BYTES;
use url::{Host, Url};

/// A URL in its one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub https: bool,
    /// Lower case, in punycode, without a final dot; an address without brackets.
    pub host: String,
    /// The host, if it is an address.
    pub address: Option<IpAddr>,
    pub port: u16,
    /// Begins with a slash; only characters that a path can have.
    pub path: String,
    pub query: Option<String>,
}

impl Target {
    /// Parses a URL.
    ///
    /// # Errors
    /// The reason for which the URL is refused.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_URL_BYTES {
            return Err("the URL is longer than 16 KiB");
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
            return Err("the URL has spaces, control characters or backslashes");
        }
        if text.contains('#') {
            return Err("the URL has a fragment, which is never sent to a server");
        }
        let (scheme, rest) = text.split_once("://").ok_or("the URL does not begin with http:// or https://")?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err("the URL does not begin with http:// or https://");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains(['@', '%']) {
            return Err("the URL has a user name, or percent-encoding in its host");
        }
        if authority.is_empty() || authority.ends_with(':') {
            return Err("the URL has no host, or no port after the colon");
        }
        let url = Url::parse(text).map_err(|_| "the URL has an invalid host or port")?;
        let (host, address) = match url.host() {
            Some(Host::Domain(name)) => (domain(name)?, None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => {
                let address = IpAddr::V6(address).to_canonical();
                (address.to_string(), Some(address))
            }
            None => return Err("the URL has no host"),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("the URL has an invalid port")?;
        Ok(Self { https, host, address, port, path: encode(url.path()), query: url.query().map(encode) })
    }

    /// The request's target line.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The `Host` header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.https { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// For messages and the log: without the query.
    pub fn shown(&self) -> String {
        let path: String = self.path.chars().take(200).collect();
        format!("{}://{}{path}", if self.https { "https" } else { "http" }, self.authority())
    }

    /// True when a server that decodes the path once more than we do could leave the segment that the path seems to be in.
    pub fn climbs(&self) -> bool {
        let mut text = self.path.clone().into_bytes();
        for _ in 0..4 {
            let mut segments = text.split(|byte| matches!(byte, b'/' | b'\\'));
            // Some servers take the text after `;` for a parameter.
            if segments.any(|segment| segment.split(|byte| *byte == b';').next() == Some(&b".."[..])) {
                return true;
            }
            let decoded = decode(&text);
            if decoded == text {
                return false;
            }
            text = decoded;
        }
        // No honest path is encoded so many times.
        true
    }
}

/// Checks a name and brings it into the form in which it is resolved: labels of letters, digits, hyphens and underscores.
fn domain(name: &str) -> Result<String, &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err("the URL has an invalid host name");
    }
    Ok(name.to_ascii_lowercase())
}

/// Percent-encodes the characters that the WHATWG rules leave as they are and RFC 3986 does not allow.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().copied().enumerate() {
        let hex = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        let plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte);
        if plain || (byte == b'%' && hex(1) && hex(2)) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
