//! `NO_PROXY`: the addresses that are reached without the proxy, by the rules of Go's `httpproxy`, which docker, skopeo and
//! kubectl follow. Reads the environment once, and sends nothing.

use std::net::IpAddr;

use url::{Host, Url};

/// The most entries that are read.
const MAX_ENTRIES: usize = 1_000;

/// The addresses that no proxy is used for.
#[derive(Debug, Default)]
pub(super) struct Around(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    what: What,
    /// Any port if absent.
    port: Option<u16>,
}

#[derive(Debug)]
enum What {
    Everything,
    Address(IpAddr),
    /// A network, and the length of its prefix.
    Network(IpAddr, u8),
    /// A domain with a dot in front. `itself`: the domain, too, and not only what is below it.
    Domain {
        below: String,
        itself: bool,
    },
}

impl Around {
    pub(super) fn of_this_process() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        set("NO_PROXY").or_else(|| set("no_proxy")).map(|text| Self::read(&text)).unwrap_or_default()
    }

    fn read(text: &str) -> Self {
        Self(text.split(',').take(MAX_ENTRIES).filter_map(|entry| Entry::read(&entry.trim().to_lowercase())).collect())
    }

    /// True if requests for this URL go around the proxy.
    pub(super) fn goes(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let host = match url.host() {
            Some(Host::Domain(name)) => Err(name.trim_end_matches('.').to_lowercase()),
            Some(Host::Ipv4(v4)) => Ok(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Ok(IpAddr::V6(v6).to_canonical()),
            None => return false,
        };
        self.0.iter().any(|entry| (entry.port.is_none() || entry.port == port) && entry.what.is(&host))
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self { what: What::Everything, port: None });
        }
        if let Some((network, length)) = text.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let bits = if network.is_ipv4() { 32 } else { 128 };
            let length = length.parse::<u8>().ok().filter(|length| *length <= bits)?;
            return Some(Self { what: What::Network(network, length), port: None });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self { what: What::Address(address.to_canonical()), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
            None => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self { what: What::Address(address.to_canonical()), port });
        }
        let below = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        if below.trim_matches('.').is_empty() {
            return None;
        }
        let itself = !below.starts_with('.');
        let below = if itself { format!(".{below}") } else { below.to_owned() };
        Some(Self { what: What::Domain { below, itself }, port })
    }
}

impl What {
    /// `host`: an address, or a name in lower case.
    fn is(&self, host: &Result<IpAddr, String>) -> bool {
        match (self, host) {
            (Self::Everything, _) => true,
            (Self::Address(one), Ok(other)) => one == other,
            (Self::Network(network, length), Ok(address)) => is_in(*address, *network, *length),
            (Self::Domain { below, itself }, Err(name)) => {
                name.ends_with(below.as_str()) || *itself && below.strip_prefix('.') == Some(name)
            }
            _ => false,
        }
    }
}

fn is_in(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let same = |one: u128, other: u128, bits: u32| {
        let rest = bits.saturating_sub(u32::from(length));
        one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(u32::from(one).into(), u32::from(other).into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.into(), other.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// containers/skopeo#588, moby/moby#37946.
    #[test]
    fn entries_mean_what_they_mean_to_go() {
        for (entries, url, around) in [
            ("*", "https://r.example/v2/", true),
            ("x.example, *", "https://10.0.0.1/v2/", true),
            ("r.test:5000", "https://r.test:5000/v2/", true),
            ("r.test:5000", "https://r.test/v2/", false),
            ("r.test:443", "https://r.test/v2/", true),
            ("r.test:80", "http://r.test/v2/", true),
            ("*.test", "https://r.test/v2/", true),
            ("*.test", "https://test/v2/", false),
            (".test", "https://a.r.test/v2/", true),
            (".test", "https://test/v2/", false),
            ("test", "https://test/v2/", true),
            ("test", "https://r.test/v2/", true),
            ("test", "https://latest/v2/", false),
            ("R.TEST", "https://r.test/v2/", true),
            (" a, r.test ,b", "https://r.test/v2/", true),
            ("10.0.0.1", "https://10.0.0.1:5000/v2/", true),
            ("10.0.0.1:5001", "https://10.0.0.1:5000/v2/", false),
            ("10.0.0.0/8", "https://10.200.0.1/v2/", true),
            ("10.0.0.0/8", "https://11.0.0.1/v2/", false),
            ("0.0.0.0/0", "https://11.0.0.1/v2/", true),
            ("10.0.0.0/8", "https://r.test/v2/", false),
            ("fd00::/8", "https://[fd12::1]/v2/", true),
            ("::1", "https://[::1]:5000/v2/", true),
            ("[::1]:5000", "https://[::1]:5000/v2/", true),
            ("[::1]:5000", "https://[::1]/v2/", false),
            ("", "https://r.test/v2/", false),
            (",,.,*.,:5000,r.test:x,10.0.0.0/99,a/b", "https://r.test/v2/", false),
        ] {
            assert_eq!(Around::read(entries).goes(&Url::parse(url).unwrap()), around, "{entries:?} {url}");
        }
    }
}
