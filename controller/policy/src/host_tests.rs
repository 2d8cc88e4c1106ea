//! Patterns in, what they cover and have in common out.

use super::*;

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn patterns_are_read_and_written() {
    for (text, normal) in [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM:8443", "api.example.com:8443"),
        ("*.example.com", "*.example.com"),
        ("*", "*"),
        ("*:443", "*:443"),
        ("*.x.io:*", "*.x.io:*"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("::1", "::1"),
        ("[::1]:8080", "[::1]:8080"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("localhost", "localhost"),
        ("a_b.example", "a_b.example"),
    ] {
        assert_eq!(pattern(text).to_string(), normal, "{text}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "1 to"),
        ("https://example.com", "without scheme"),
        ("example.com/v1", "without scheme"),
        ("exa*mple.com", "at the start"),
        ("*.*.example.com", "at the start"),
        ("**.example.com", "at the start"),
        ("*.", "not a host name"),
        ("*example.com", "at the start"),
        ("a..b", "not a host name"),
        (".example.com", "not a host name"),
        ("example.com.", "not a host name"),
        ("-a.example", "not a host name"),
        ("a b", "not a host name"),
        ("user@example.com", "not a host name"),
        ("exämple.com", "xn--"),
        ("example.com:0", "not a port"),
        ("example.com:65536", "not a port"),
        ("example.com:http", "not a port"),
        ("example.com:", "not a port"),
        ("127.1", "four numbers"),
        ("0x7f.0.0.1", "four numbers"),
        ("0x7f000001", "four numbers"),
        ("2130706433", "four numbers"),
        ("127.0.0.01", "four numbers"),
        ("[::1", "closing bracket"),
        ("[::1]x", "follow the bracket"),
        ("[127.0.0.1]", "not an IPv6"),
        ("example.com\r\nx: y", "not a port"),
        ("example.com\r\n", "not a host name"),
    ] {
        let error = HostPattern::parse(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
    let long = format!("{}.com", "a".repeat(300));
    assert!(HostPattern::parse(&long).is_err());
    for only_operators in ["*", "*:443", "*.example.com:*", "example.com:*"] {
        assert!(HostPattern::parse(only_operators).is_ok());
        assert!(HostPattern::parse_grant(only_operators).is_err(), "{only_operators}");
    }
}

#[test]
fn what_a_pattern_covers() {
    for (text, https, host, port, covered) in [
        ("a.example", true, "a.example", 443, true),
        ("a.example", false, "a.example", 80, true),
        ("a.example", false, "a.example", 443, false),
        ("a.example", true, "a.example", 8443, false),
        ("a.example:8443", true, "a.example", 8443, true),
        ("a.example:8443", false, "a.example", 8443, true),
        ("a.example:8443", true, "a.example", 443, false),
        ("a.example", true, "b.a.example", 443, false),
        ("*.example", true, "a.example", 443, true),
        ("*.example", true, "a.b.example", 443, true),
        ("*.example", true, "example", 443, false),
        ("*.example", true, ".example", 443, false),
        ("*.example", true, "badexample", 443, false),
        ("*", false, "anything", 1, true),
        ("10.0.0.1", false, "10.0.0.1", 80, true),
        ("10.0.0.1", false, "::ffff:10.0.0.1", 80, true),
        ("10.0.0.1", false, "10.0.0.2", 80, false),
        ("::1", false, "0:0:0:0:0:0:0:1", 80, true),
    ] {
        assert_eq!(pattern(text).covers(https, host, port), covered, "{text} {host}:{port}");
    }
}

#[test]
fn what_two_have_in_common() {
    for (a, b, common) in [
        ("a.example", "*", Some("a.example")),
        ("a.example", "a.example", Some("a.example")),
        ("a.example", "*.example", Some("a.example")),
        ("*.example", "*.a.example", Some("*.a.example")),
        ("*.example", "*.example", Some("*.example")),
        ("*.example", "*.ample", None),
        ("*.example", "example", None),
        ("a.example", "b.example", None),
        ("a.example:1", "a.example:*", Some("a.example:1")),
        ("a.example:1", "a.example:2", None),
        ("a.example", "a.example:443", None),
        ("10.0.0.1", "*", Some("10.0.0.1")),
        ("10.0.0.1", "10.0.0.1", Some("10.0.0.1")),
    ] {
        let b = pattern(b);
        let got = pattern(a).intersect(&b).map(|p| p.to_string());
        assert_eq!(got.as_deref(), common, "{a} and {b}");
        assert_eq!(b.intersect(&pattern(a)).map(|p| p.to_string()).as_deref(), common, "{b} and {a}");
    }
}

#[test]
fn bans_take_all_or_a_part() {
    for (ban, grant, expected) in [
        ("a.example", "a.example", Ban::Whole),
        ("a.example", "a.example:8443", Ban::Whole),
        ("a.example:8443", "a.example:8443", Ban::Whole),
        ("a.example:8443", "a.example", Ban::None),
        ("a.example:443", "a.example", Ban::Part),
        ("a.example", "*.example", Ban::Part),
        ("*.example", "a.example", Ban::Whole),
        ("*", "a.example", Ban::Whole),
        ("b.example", "a.example", Ban::None),
    ] {
        assert_eq!(pattern(ban).ban(&pattern(grant)), expected, "{ban} on {grant}");
    }
    assert!(pattern("a.example").bans("a.example", 9));
    assert!(!pattern("a.example:8").bans("a.example", 9));
}
