//! URLs in, the one form or a refusal out.

use super::*;

fn parse(text: &str) -> Target {
    Target::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn urls_have_one_form() {
    for (text, host, port, path) in [
        ("https://api.example.com", "api.example.com", 443, "/"),
        ("HTTPS://API.Example.COM/v1?q=1", "api.example.com", 443, "/v1?q=1"),
        ("https://api.example.com./v1", "api.example.com", 443, "/v1"),
        ("http://example.com:8080/", "example.com", 8080, "/"),
        ("http://example.com?x", "example.com", 80, "/?x"),
        ("https://example.com:443/", "example.com", 443, "/"),
        ("https://bücher.example/ä", "xn--bcher-kva.example", 443, "/%C3%A4"),
        ("https://ＥＸＡＭＰＬＥ.com/", "example.com", 443, "/"),
        ("https://127.0.0.1.nip.io/", "127.0.0.1.nip.io", 443, "/"),
        ("https://example.com/a/../b/./c", "example.com", 443, "/b/c"),
        ("https://example.com/a/%2e%2E/b", "example.com", 443, "/b"),
        ("https://example.com/a/.%2e/.%2e/.%2e/b", "example.com", 443, "/b"),
        ("https://example.com/a//b", "example.com", 443, "/a//b"),
        ("https://example.com/a%2Fb", "example.com", 443, "/a%2Fb"),
        ("https://example.com/%zz%", "example.com", 443, "/%25zz%25"),
        ("https://example.com/?q={\"a\":[1|2^`]}", "example.com", 443, "/?q=%7B%22a%22:%5B1%7C2%5E%60%5D%7D"),
    ] {
        let target = parse(text);
        assert_eq!((target.host.as_str(), target.port, target.path_and_query().as_str()), (host, port, path), "{text}");
        assert_eq!(target.address, None, "{text}");
        // The form is its own form, and hyper takes it.
        let again = format!("{}://{}{}", if target.https { "https" } else { "http" }, target.authority(), path);
        assert_eq!(parse(&again), target, "{text}");
        assert!(path.parse::<http::uri::PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == path), "{text}");
    }
}

#[test]
fn every_notation_of_an_address_is_that_address() {
    for (text, address) in [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://127.1/", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://0x7f.0x0.0x0.0x1/", "127.0.0.1"),
        ("http://0177.0.0.01/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f000001/", "127.0.0.1"),
        ("http://017700000001/", "127.0.0.1"),
        ("http://127.0.0.1./", "127.0.0.1"),
        ("http://0/", "0.0.0.0"),
        ("http://①②⑦.⓪.⓪.①/", "127.0.0.1"),
        ("http://127。0。0。1/", "127.0.0.1"),
        ("http://[::1]/", "::1"),
        ("http://[0:0::0:1]:80/", "::1"),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.1"),
        ("http://[::ffff:7f00:1]/", "127.0.0.1"),
        ("http://[::FFFF:169.254.169.254]/", "169.254.169.254"),
        ("http://[::127.0.0.1]/", "::7f00:1"),
        ("http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1"),
    ] {
        let target = parse(text);
        assert_eq!(target.address, Some(address.parse().unwrap()), "{text}");
        assert_eq!(target.host, address.parse::<IpAddr>().unwrap().to_string(), "{text}");
    }
    assert_eq!(parse("http://[::1]:8080/x").authority(), "[::1]:8080");
    assert_eq!(parse("http://[::1]:8080/x?token=1").shown(), "http://[::1]:8080/x");
}

#[test]
fn what_only_confuses_is_refused() {
    for text in [
        "",
        "example.com/",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:example.com",
        "https:/example.com",
        "https:///example.com",
        "https:\\\\example.com",
        "https://",
        "https://?x",
        "https://:443/",
        "https://example.com:/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:80a/",
        "https://example.com:-1/",
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://@example.com/",
        "https://good.example\\@evil.example/",
        "https://good.example\\.evil.example/",
        "https://good.example%40evil.example/",
        "https://exam%70le.com/",
        "https://example.com%2f.evil.example/",
        "https://example.com/#x",
        "https://example.com#@evil.example/",
        "https://example.com/\r\nX: y",
        "https://example.com/\tx",
        "https://exa\tmple.com/",
        "https://example.com /",
        " https://example.com/",
        "https://example.com/\u{7f}",
        "https://example..com/",
        "https://.example.com/",
        "https://example.com../",
        "https://exa!mple.com/",
        "https://256.1.1.1/",
        "https://1.2.3.4.5/",
        "https://0x100000000/",
        "https://[::1/",
        "https://[::1%25eth0]/",
        "https://[v1.x]/",
        "https://example.com:443:80/",
        "https://a,b/",
    ] {
        assert!(Target::parse(text).is_err(), "{text:?} was read as {:?}", Target::parse(text));
    }
    assert!(Target::parse(&format!("https://{}.com/", "a".repeat(64))).is_err());
    assert!(Target::parse(&format!("https://{}com/", "a.".repeat(130))).is_err());
    assert!(Target::parse(&format!("https://a.com/{}", "a".repeat(MAX_URL_BYTES))).is_err());
}

#[test]
fn paths_that_climb_when_they_are_decoded_again() {
    for (path, climbs) in [
        ("/v1/x", false),
        ("/v1/..x", false),
        ("/v1/x..", false),
        ("/v1/...", false),
        ("/v1/%2F..%2F", true),
        ("/v1/..%2fadmin", true),
        ("/v1/..%5cadmin", true),
        ("/v1/%252e%252e/admin", true),
        ("/v1/%25252e%25252e/admin", true),
        ("/v1/%2525252525252541", true),
        ("/v1/..;/admin", true),
        ("/v1/..;a=b/admin", true),
        ("/v1/%2e%2e%3b/admin", true),
        ("/v1/100%25", false),
        ("/v1/a%20b%2Fc", false),
    ] {
        assert_eq!(parse(&format!("https://a.example{path}")).climbs(), climbs, "{path}");
    }
}

/// Texts made of what URLs are made of, from a fixed seed: what is read at all is read as one thing only.
#[test]
fn whatever_is_read_has_one_meaning() {
    const PARTS: &[&str] = &[
        "http://",
        "https://",
        "a.example",
        "127.0.0.1",
        "0x7f",
        "[::1]",
        "[",
        "]",
        "@",
        ":",
        ":80",
        ":443",
        "/",
        "//",
        "..",
        "%2e",
        "%2f",
        "%25",
        "%",
        "\\",
        "?",
        "#",
        ";",
        ".",
        "..;",
        "\u{e9}",
        "\u{3002}",
        "\u{200b}",
        "x",
        "-",
        "_",
        " ",
        "\t",
        "xn--",
        "\u{2488}",
        "{",
        "|",
        "&",
        "=",
        "\u{0}",
        "*",
        ",",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |most: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % most as u64).unwrap()
    };
    let mut read = 0;
    for _ in 0..200_000 {
        let mut text = String::from(["http://", "https://", ""][next(3)]);
        (0..next(8)).for_each(|_| text.push_str(PARTS[next(PARTS.len())]));
        let Ok(target) = Target::parse(&text) else { continue };
        read += 1;
        assert!(!target.host.is_empty() && target.port != 0 && target.path.starts_with('/'), "{text:?} {target:?}");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        assert!(target.address.is_some() || target.host.bytes().all(plain), "{text:?} {target:?}");
        assert_eq!(target.host.parse::<IpAddr>().ok(), target.address, "{text:?} {target:?}");
        assert!(!target.path.split('/').any(|segment| segment == ".." || segment == "."), "{text:?} {target:?}");
        let again = format!(
            "{}://{}{}",
            if target.https { "https" } else { "http" },
            target.authority(),
            target.path_and_query()
        );
        assert_eq!(Target::parse(&again).as_ref(), Ok(&target), "{text:?} {again:?}");
        let uri: http::Uri = target.path_and_query().parse().unwrap();
        assert_eq!(uri.path_and_query().unwrap().as_str(), target.path_and_query(), "{text:?}");
    }
    assert!(read > 5_000, "{read}");
}
