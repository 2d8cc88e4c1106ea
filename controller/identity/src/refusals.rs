//! Callers that were refused, counted by who they were and why, so that a flood of them becomes a few entries of the audit log.
//!
//! Never keeps a text that was presented.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use cofferdam_contract::OrganizationId;
use cofferdam_core::now_ms;
use parking_lot::Mutex;

/// The most refusals that are told apart between two drains, of unknown callers and of keys. Further ones are counted as one each.
const MAX_TOLD_APART: usize = 100;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// The key's organization; `default` for a key that is not known.
    pub organization: OrganizationId,
    /// The id of the key; empty if it is not known.
    pub key: String,
    /// The peer's address: of IPv6, the network of one subscriber. Empty if it is not known.
    pub address: String,
    /// A word: `no key`, `unknown`, `scope`, or why the key has ended.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal of a caller that is not known.
    pub fn unknown(reason: &'static str, address: Option<IpAddr>) -> Self {
        Self {
            organization: OrganizationId::default_organization(),
            key: String::new(),
            address: network(address),
            reason,
        }
    }

    /// A refusal of a key.
    pub fn of(key: &str, organization: &OrganizationId, reason: &'static str, address: Option<IpAddr>) -> Self {
        Self { organization: organization.clone(), key: key.to_owned(), address: network(address), reason }
    }
}

/// The address as it is counted: whoever has an IPv6 address has 2^64 of them.
fn network(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        None => String::new(),
        Some(IpAddr::V6(address)) if !address.is_loopback() => {
            let bits = address.to_bits() & (u128::MAX << 64);
            format!("{}/64", Ipv6Addr::from_bits(bits))
        }
        Some(address) => address.to_string(),
    }
}

/// The number of somebody's refusals, and the times of the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
}

/// The refusals since the last drain.
#[derive(Default)]
pub struct Refusals {
    unknown: Mutex<HashMap<Refusal, Times>>,
    of_keys: Mutex<HashMap<Refusal, Times>>,
}

impl Refusals {
    pub fn count(&self, refusal: Refusal) {
        let now = now_ms();
        let mut counted = if refusal.key.is_empty() { self.unknown.lock() } else { self.of_keys.lock() };
        let refusal = match counted.len() < MAX_TOLD_APART || counted.contains_key(&refusal) {
            true => refusal,
            false => Refusal { address: "others".to_owned(), ..Refusal::unknown("others", None) },
        };
        let times = counted.entry(refusal).or_insert(Times { count: 0, first_ms: now, last_ms: now });
        times.count = times.count.saturating_add(1);
        times.last_ms = now;
    }

    pub(crate) fn drain(&self) -> HashMap<Refusal, Times> {
        let mut all = std::mem::take(&mut *self.unknown.lock());
        for (refusal, times) in std::mem::take(&mut *self.of_keys.lock()) {
            // Both may have counted the rest.
            let sum = all.entry(refusal).or_insert(Times { count: 0, ..times });
            sum.count = sum.count.saturating_add(times.count);
            sum.last_ms = sum.last_ms.max(times.last_ms);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_few_entries() {
        let refusals = Refusals::default();
        for number in 0..100_000_u32 {
            refusals.count(Refusal::unknown("unknown", Some(IpAddr::from(number.to_be_bytes()))));
        }
        let drained = refusals.drain();
        assert_eq!(drained.len(), MAX_TOLD_APART + 1);
        assert_eq!(drained.values().map(|times| times.count).sum::<u64>(), 100_000);
        assert!(refusals.drain().is_empty());
        for address in ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1"] {
            refusals.count(Refusal::unknown("unknown", Some(address.parse().unwrap())));
        }
        let drained = refusals.drain();
        assert_eq!(drained.keys().map(|refusal| refusal.address.as_str()).collect::<Vec<_>>(), ["2001:db8:1:2::/64"]);
        for (address, shown) in [("::1", "::1"), ("::ffff:10.0.0.1", "10.0.0.1")] {
            assert_eq!(network(Some(address.parse().unwrap())), shown);
        }
    }
}
