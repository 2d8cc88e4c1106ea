//! Addresses that may be dialled: public ones, and those in the operator's private ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Cidr;

/// Returns true for addresses of the public internet: not special by IANA's registries, not a cloud's metadata service,
/// and not an IPv6 form of an IPv4 address that is not public.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => public_v4(address),
        IpAddr::V6(address) => public_v6(address),
    }
}

/// The address to dial instead of this one; `None` if it must not be dialled.
pub fn to_dial(address: IpAddr, private: &[Cidr]) -> Option<IpAddr> {
    // An IPv4-mapped address is checked and dialled as IPv4.
    let address = address.to_canonical();
    let allowed = is_public(address) || private.iter().any(|range| range.contains(address));
    (allowed && !address.is_unspecified() && !address.is_multicast()).then_some(address)
}

fn public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private, loopback.
        [0 | 10 | 127, ..] => true,
        // Shared by carriers, and the metadata service of a cloud.
        [100, second, ..] => second & 0xc0 == 64,
        [169, 254, ..] | [192, 168, ..] => true,
        // Azure's wire server, which looks public.
        [168, 63, 129, 16] => true,
        [172, second, ..] => second & 0xf0 == 16,
        // Protocol assignments, documentation, the 6to4 relays' anycast address.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Benchmarks.
        [198, second, ..] => second & 0xfe == 18,
        // Multicast, reserved, broadcast.
        [first, ..] => first >= 224,
    };
    !special
}

fn public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // IPv4-mapped, for callers that did not use `to_canonical`.
        [0, 0, 0, 0, 0, 0xffff, high, low] => public_v4(embedded(high, low)),
        // NAT64's well-known prefix, which leads to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => public_v4(embedded(high, low)),
        // Protocol assignments with Teredo and ORCHID in them, documentation, 6to4.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast. Everything else is special: loopback, unique local, link-local, multicast, ...
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_ranges_are_not_public_and_their_neighbours_are() {
        for (inside, first_after) in [
            ("0.0.0.0 0.255.255.255", "1.0.0.0"),
            ("10.0.0.0 10.255.255.255", "11.0.0.0"),
            ("100.64.0.0 100.100.100.200 100.127.255.255", "100.128.0.0"),
            ("127.0.0.1 127.255.255.255", "128.0.0.0"),
            ("169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255", "169.255.0.0"),
            ("168.63.129.16", "168.63.129.17"),
            ("172.16.0.0 172.31.255.255", "172.32.0.0"),
            ("192.0.0.0 192.0.0.192 192.0.0.255", "192.0.1.0"),
            ("192.0.2.1", "192.0.3.0"),
            ("192.88.99.1", "192.88.100.0"),
            ("192.168.0.0 192.168.255.255", "192.169.0.0"),
            ("198.18.0.0 198.19.255.255", "198.20.0.0"),
            ("198.51.100.7", "198.51.101.0"),
            ("203.0.113.7", "203.0.114.0"),
            ("224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255", "223.255.255.255"),
            (":: ::1 ::2 ::7f00:1 ::ffff:0:127.0.0.1", "2600::1"),
            ("::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254", "::ffff:1.1.1.1"),
            ("64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::a00:1", "64:ff9b::101:101"),
            ("64:ff9b:1::1 64:ff9b:0:0:1::1 100::1", "2a00::1"),
            ("2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1 2001:20::1 2001:1ff::1", "2001:200::1"),
            ("2001:db8::1", "2001:db9::1"),
            ("2002:7f00:1:: 2002:a9fe:a9fe::1 2002:101:101::1", "2003::1"),
            ("3fff::1 3fff:fff::1", "3fff:1000::1"),
            ("5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 febf::1 fec0::1 ff02::1 4000::1", "2606:4700::1111"),
        ] {
            for text in inside.split(' ') {
                assert!(!is_public(text.parse().unwrap()), "{text}");
                assert_eq!(to_dial(text.parse().unwrap(), &[]), None, "{text}");
            }
            let after: IpAddr = first_after.parse().unwrap();
            assert!(is_public(after) && to_dial(after, &[]) == Some(after.to_canonical()), "{first_after}");
        }
    }

    #[test]
    fn an_operator_opens_private_ranges_and_nothing_else() {
        let ranges = |texts: &[&str]| texts.iter().map(|text| Cidr::parse(text).unwrap()).collect::<Vec<_>>();
        for (address, private, dialled) in [
            ("127.0.0.1", &["127.0.0.0/8"][..], Some("127.0.0.1")),
            ("::ffff:127.0.0.1", &["127.0.0.0/8"], Some("127.0.0.1")),
            ("::1", &["127.0.0.0/8"], None),
            ("::1", &["::1/128"], Some("::1")),
            ("64:ff9b::7f00:1", &["127.0.0.0/8"], None),
            ("2002:7f00:1::", &["127.0.0.0/8"], None),
            ("10.1.2.3", &["10.1.0.0/16", "fd00::/8"], Some("10.1.2.3")),
            ("10.2.2.3", &["10.1.0.0/16", "fd00::/8"], None),
            ("fd12::1", &["10.1.0.0/16", "fd00::/8"], Some("fd12::1")),
            ("169.254.169.254", &["10.0.0.0/8"], None),
            ("0.0.0.0", &["0.0.0.0/0"], None),
            ("::", &["::/0"], None),
            ("224.0.0.1", &["0.0.0.0/0"], None),
            ("8.8.8.8", &[], Some("8.8.8.8")),
        ] {
            let expected = dialled.map(|text| text.parse().unwrap());
            assert_eq!(to_dial(address.parse().unwrap(), &ranges(private)), expected, "{address} {private:?}");
        }
    }
}
