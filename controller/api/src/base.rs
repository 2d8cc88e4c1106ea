//! The address at which a caller reached the server, for links.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::HOST;

/// The longest host that a link repeats, in bytes.
const MAX_HOST: usize = 255;

/// The possible addresses at the start of a link.
#[derive(Debug, Clone)]
pub struct Base {
    /// The operator's `COFFERDAM_PUBLIC_URL`, without a `/` at its end.
    pub public_url: Option<String>,
    /// The address that this process listens on.
    pub listen: SocketAddr,
}

impl Base {
    /// The start of a link: the operator's address, else the one that the request was sent to. A caller that forges the
    /// host only gets a wrong link itself.
    pub fn of(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // There may be several proxies; the first one saw the client.
        let first = |name: &str| text(name).and_then(|value| value.split(',').next()).map(str::trim);
        let authority = |host: &&str| {
            host.len() <= MAX_HOST
                && host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'))
        };
        let host = first("x-forwarded-host").filter(authority).or_else(|| text(HOST.as_str()).filter(authority));
        let scheme = first("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
        match host {
            Some(host) => format!("{scheme}://{host}"),
            None => format!("http://{}", self.listen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_starts_with_the_address_the_caller_reached() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let unset = Base { public_url: None, listen };
        let with = |list: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            list.iter().for_each(|(name, value)| drop(headers.insert(*name, value.parse().unwrap())));
            unset.of(&headers)
        };
        assert_eq!(with(&[("host", "a.example:8080")]), "http://a.example:8080");
        let proxied =
            [("host", "10.0.0.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "api.example, proxy")];
        assert_eq!(with(&proxied), "https://api.example");
        for odd in ["a/../b", "u:p@host", "a b", "é", &"x".repeat(300)] {
            assert_eq!(with(&[("host", odd)]), "http://127.0.0.1:8080", "{odd}");
        }
        assert_eq!(with(&[("host", "h"), ("x-forwarded-proto", "javascript")]), "http://h");
        let set = Base { public_url: Some("https://api.example/x".to_owned()), listen };
        assert_eq!(set.of(&HeaderMap::new()), "https://api.example/x");
    }
}
