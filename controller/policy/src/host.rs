//! Host patterns of grants and policies: a host with a port, matching, and the intersection of two patterns. They
//! compare names as they are written and never resolve one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The longest pattern, in bytes: a name has at most 253, followed by a port.
const MAX_PATTERN: usize = 262;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Any,
    /// Every name below this one, but not the name itself.
    Below(String),
    Exact(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Port {
    /// 443 for `https`, 80 for `http`.
    Usual,
    Any,
    Number(u16),
}

/// A host pattern: `api.example.com`, `*.example.com` or an address, each with or without `:port`. An operator's policy
/// may also use `*` and `:*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    name: Name,
    port: Port,
}

impl HostPattern {
    pub fn everything() -> Self {
        Self { name: Name::Any, port: Port::Any }
    }

    /// Parses a pattern of an operator's policy.
    ///
    /// # Errors
    /// The reason, as a sentence for the author.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(format!("a host has 1 to {MAX_PATTERN} characters"));
        }
        if text == "*" {
            return Ok(Self::everything());
        }
        let (host, port) = split_port(text)?;
        Ok(Self { name: name(host)?, port })
    }

    /// Parses a pattern of a grant: no bare `*`, no port `*`.
    ///
    /// # Errors
    /// As [`Self::parse`], and for a pattern that only an operator may use.
    pub fn parse_grant(text: &str) -> Result<Self, String> {
        let pattern = Self::parse(text)?;
        if pattern.name == Name::Any || pattern.port == Port::Any {
            return Err(format!(
                "{text:?} would be everything: name each host, such as api.example.com or *.example.com:8443"
            ));
        }
        Ok(pattern)
    }

    /// Returns true if the pattern covers this host and port. The host is in lower case, an IPv6 address without brackets.
    pub fn covers(&self, https: bool, host: &str, port: u16) -> bool {
        let at_port = match self.port {
            Port::Any => true,
            Port::Usual => port == if https { 443 } else { 80 },
            Port::Number(number) => number == port,
        };
        at_port && self.covers_name(host)
    }

    /// Returns true if a ban of this pattern covers the host and port. Without a port, it bans every port of the host.
    pub fn bans(&self, host: &str, port: u16) -> bool {
        !matches!(self.port, Port::Number(number) if number != port) && self.covers_name(host)
    }

    /// Returns true if a secret bound to this pattern may be sent there. Without a port, it may go to every port of the
    /// host.
    pub fn binds(&self, host: &str, port: u16) -> bool {
        self.bans(host, port)
    }

    fn covers_name(&self, host: &str) -> bool {
        match &self.name {
            Name::Any => true,
            Name::Exact(name) => name == host,
            Name::Below(parent) => below(host, parent),
            Name::Address(address) => host.parse::<IpAddr>().is_ok_and(|host| same_address(host, *address)),
        }
    }

    /// The pattern that both cover; `None` if they have nothing in common.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let port = match (self.port, other.port) {
            (Port::Any, port) | (port, Port::Any) => port,
            (a, b) if a == b => a,
            _ => return None,
        };
        let name = match (&self.name, &other.name) {
            (Name::Any, name) | (name, Name::Any) => name.clone(),
            (Name::Below(a), Name::Below(b)) if a == b || below(a, b) => Name::Below(a.clone()),
            (Name::Below(a), Name::Below(b)) if below(b, a) => Name::Below(b.clone()),
            (Name::Exact(name), Name::Below(parent)) | (Name::Below(parent), Name::Exact(name))
                if below(name, parent) =>
            {
                Name::Exact(name.clone())
            }
            (a, b) if a == b => a.clone(),
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// The part of a grant that this ban takes.
    pub(super) fn ban(&self, grant: &Self) -> Ban {
        let everywhere = |pattern: &Self| Self { name: pattern.name.clone(), port: Port::Any };
        let ports_meet = match (self.port, grant.port) {
            (Port::Number(a), Port::Number(b)) => a == b,
            (Port::Number(a), Port::Usual) => matches!(a, 80 | 443),
            _ => true,
        };
        match everywhere(self).intersect(&everywhere(grant)) {
            Some(common) if ports_meet => {
                let whole_port = !matches!((self.port, grant.port), (Port::Number(_), Port::Usual | Port::Any));
                if common.name == grant.name && whole_port { Ban::Whole } else { Ban::Part }
            }
            _ => Ban::None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ban {
    Whole,
    Part,
    None,
}

fn below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Compares addresses; an IPv4-mapped address equals its IPv4 address.
fn same_address(a: IpAddr, b: IpAddr) -> bool {
    a.to_canonical() == b.to_canonical()
}

fn split_port(text: &str) -> Result<(&str, Port), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(|| format!("{text:?} has no closing bracket"))?;
            address.parse::<Ipv6Addr>().map_err(|_| format!("{address:?} is not an IPv6 address"))?;
            match after.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None if after.is_empty() => (address, None),
                None => return Err(format!("{text:?}: only :port may follow the bracket")),
            }
        }
        None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => Port::Usual,
        Some("*") => Port::Any,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(number) if number > 0 => Port::Number(number),
            _ => return Err(format!("{digits:?} is not a port: use 1 to 65535")),
        },
        Some(other) => {
            return Err(format!(
                "{other:?} is not a port: write the host without scheme and path, such as api.example.com"
            ));
        }
    };
    Ok((host, port))
}

fn name(host: &str) -> Result<Name, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Name::Address(address.to_canonical()));
    }
    if host.contains("://") || host.contains('/') {
        return Err(format!("{host:?} is not a host: write it without scheme and path, such as api.example.com"));
    }
    if host == "*" {
        return Ok(Name::Any);
    }
    if !host.is_ascii() {
        return Err(format!("{host:?}: write international names in their xn-- form"));
    }
    let lower = host.to_ascii_lowercase();
    let (wild, name) = match lower.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, lower.as_str()),
    };
    if name.contains('*') {
        return Err(format!("{host:?}: `*` is only valid at the start, as in *.example.com"));
    }
    let plain = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(plain) {
        return Err(format!("{host:?} is not a host name"));
    }
    // Some resolvers read such names as addresses (0x7f.1, 2130706433), so a number has to be a whole address.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Err(format!("{host:?} is neither a name nor an address: write an IPv4 address as four numbers"));
    }
    Ok(if wild { Name::Below(name.to_owned()) } else { Name::Exact(name.to_owned()) })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.port) {
            (Name::Any, Port::Any) => return f.write_str("*"),
            (Name::Any, _) => f.write_str("*")?,
            (Name::Below(parent), _) => write!(f, "*.{parent}")?,
            (Name::Exact(name), _) => f.write_str(name)?,
            (Name::Address(IpAddr::V6(address)), Port::Any | Port::Number(_)) => write!(f, "[{address}]")?,
            (Name::Address(address), _) => write!(f, "{address}")?,
        }
        match self.port {
            Port::Usual => Ok(()),
            Port::Any => f.write_str(":*"),
            Port::Number(number) => write!(f, ":{number}"),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
