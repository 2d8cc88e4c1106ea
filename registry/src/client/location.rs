//! The addresses that a registry sends us to: completes a `Location`, and refuses those that no request of ours may go to.
//! Sends nothing.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::LOCATION;
use url::{Host, Url};

use super::error::{ClientError, Kind};
use super::tls;
use super::wire::Wire;

const MAX_LOCATION: usize = 8 << 10;

impl Wire {
    /// True if the URL is on the registry's own host, which may see credentials.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// True if the URL is on the registry's own host, on whichever port.
    pub(super) fn is_own_host(&self, url: &Url) -> bool {
        url.host() == self.base.host()
    }

    /// The `Location` of an answer to a request for `from`.
    pub(super) fn location(&self, from: &Url, headers: &HeaderMap, about: &str) -> Result<Url, ClientError> {
        let text = headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
            .filter(|text| (1..=MAX_LOCATION).contains(&text.len()));
        let text =
            text.ok_or_else(|| self.error(Kind::Protocol, format!("its answer to {about} has no Location header")))?;
        let wrong = || self.error(Kind::Protocol, format!("its answer to {about} has an invalid location"));
        let mut url = from.join(text).map_err(|_| wrong())?;
        url.set_fragment(None);
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| wrong())?;
        mend(&self.base, &mut url, names_port(text)).map_err(|()| wrong())?;
        self.check(&url)?;
        Ok(url)
    }

    /// Refuses URLs that no request of ours may go to, wherever they came from.
    pub(super) fn check(&self, url: &Url) -> Result<(), ClientError> {
        if self.is_own(url) {
            return Ok(());
        }
        let place = place(url);
        if url.scheme() != "https" && !(self.plain_http && url.scheme() == "http") {
            return Err(self.error(Kind::Elsewhere, format!("it redirects to {place} without TLS, which is refused")));
        }
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) => None,
            None => return Err(self.error(Kind::Elsewhere, "it redirects to a URL without a host")),
        };
        if address.is_some_and(|address| !tls::may_dial(address, self.near)) {
            return Err(self.error(Kind::Elsewhere, format!("it redirects to {place}, which is refused")));
        }
        Ok(())
    }
}

/// Host and port of a URL, for messages.
pub(super) fn place(url: &Url) -> String {
    let host: String = url.host_str().unwrap_or_default().chars().take(255).collect();
    url.port_or_known_default().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// A proxy in front of a registry often forgets what its clients see: that it speaks TLS, and its port. A location within
/// the registry's own API, on its own host, is one at the address that we use. One that names a port is believed.
fn mend(base: &Url, url: &mut Url, names_port: bool) -> Result<(), ()> {
    if url.host() != base.host() || !matches!(url.scheme(), "http" | "https") {
        return Ok(());
    }
    if url.scheme() == "http" && base.scheme() == "https" {
        url.set_scheme("https")?;
    }
    if !names_port && url.scheme() == base.scheme() && url.path().starts_with(base.path()) {
        url.set_port(base.port())?;
    }
    Ok(())
}

/// True for an absolute URL with a port. The parser leaves out the usual one.
fn names_port(text: &str) -> bool {
    let authority = text.split_once("//").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let port = authority.and_then(|authority| authority.rsplit_once(':')).map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_forgot_is_put_back() {
        for (base, location, wanted) in [
            ("http://r.example:5000", "http://r.example/v2/a/blobs/uploads/1?x=2", "http://r.example:5000"),
            ("https://r.example:5000", "https://r.example/v2/a", "https://r.example:5000"),
            ("https://r.example:5000", "http://r.example/v2/a", "https://r.example:5000"),
            ("https://r.example:5000", "http://r.example:5000/v2/a", "https://r.example:5000"),
            ("https://r.example", "http://r.example/v2/a", "https://r.example"),
            ("https://r.example", "http://r.example:80/v2/a", "https://r.example"),
            ("http://[::1]:5000", "http://[::1]/v2/a", "http://[::1]:5000"),
            ("http://r.example:5000", "/v2/a", "http://r.example:5000"),
            // Named, of another host, or no part of the API.
            ("http://r.example:5000", "http://r.example:80/v2/a", "http://r.example"),
            ("http://r.example:5000", "http://r.example:5001/v2/a", "http://r.example:5001"),
            ("http://r.example:5000", "http://s.example/v2/a", "http://s.example"),
            ("http://r.example:5000", "https://r.example/v2/a", "https://r.example"),
            ("https://r.example:5000", "https://r.example/storage/a", "https://r.example"),
        ] {
            let base = Url::parse(&format!("{base}/v2/")).unwrap();
            let mut url = base.join(location).unwrap();
            mend(&base, &mut url, names_port(location)).unwrap();
            assert_eq!(url.origin().ascii_serialization(), wanted, "{base} {location}");
        }
    }
}
