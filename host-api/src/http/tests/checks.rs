//! Bounds and validity of headers, methods and URLs.

use cofferdam_contract::uplink::MAX_HEADERS;

use super::*;
use crate::http::{Fields, HeaderFailure, bindings::types::HeaderError};

fn fields(sandbox: &mut Sandbox) -> Resource<Fields> {
    HostFields::new(sandbox).unwrap()
}

#[test]
fn headers_are_checked() {
    let mut sandbox = bare();
    let map = fields(&mut sandbox);
    let append = |sandbox: &mut Sandbox, name: &str, value: &[u8]| {
        HostFields::append(sandbox, again(&map), name.to_owned(), value.to_vec())
    };
    for (name, value) in [
        ("", &b"x"[..]),
        ("a b", b"x"),
        ("a:b", b"x"),
        ("a\r\nb", b"x"),
        ("\u{e4}", b"x"),
        ("ok", b"a\r\nInjected: 1"),
        ("ok", b"a\nb"),
        ("ok", b"\0"),
        ("ok", b"\x7f"),
    ] {
        let result = append(&mut sandbox, name, value);
        assert!(matches!(result, Err(HeaderFailure::Guest(HeaderError::InvalidSyntax))), "{name:?} {value:?}");
    }
    for name in [
        "Host",
        "connection",
        "Keep-Alive",
        "TE",
        "Transfer-Encoding",
        "upgrade",
        "http2-settings",
        "Proxy-Authorization",
        "proxy-connection",
        "Cofferdam-Token",
        "cofferdam-url",
        "expect",
    ] {
        let result = append(&mut sandbox, name, b"x");
        assert!(matches!(result, Err(HeaderFailure::Guest(HeaderError::Forbidden))), "{name}");
    }
    for value in [&b""[..], b"a\tb", b"caf\xc3\xa9", b"\xff"] {
        append(&mut sandbox, "Fine", value).unwrap();
    }
    assert_eq!(HostFields::get(&mut sandbox, again(&map), "fINE".to_owned()).unwrap().len(), 4);
    assert!(sandbox.has(again(&map), "FINE".to_owned()).unwrap());
    assert!(!sandbox.has(again(&map), "not a name".to_owned()).unwrap());
    HostFields::set(&mut sandbox, again(&map), "fine".to_owned(), vec![b"one".to_vec()]).unwrap();
    let copy = HostFields::clone(&mut sandbox, again(&map)).unwrap();
    HostFields::delete(&mut sandbox, again(&map), "fine".to_owned()).unwrap();
    assert_eq!(sandbox.entries(map).unwrap(), []);
    assert_eq!(sandbox.entries(copy).unwrap(), [("fine".to_owned(), b"one".to_vec())]);
}

#[test]
fn headers_are_bounded() {
    let mut sandbox = sandbox(reading(|_| Response::new(full(""))));
    // More than a request may have: an error code.
    for (count, size) in [(MAX_HEADERS + 1, 1), (3, 30_000)] {
        let map = fields(&mut sandbox);
        for index in 0..count {
            HostFields::append(&mut sandbox, again(&map), format!("n{index}"), vec![b'v'; size]).unwrap();
        }
        let sent = HostOutgoingRequest::new(&mut sandbox, map).unwrap();
        sandbox.set_authority(again(&sent), Some("example.com".to_owned())).unwrap().unwrap();
        assert!(matches!(code(sandbox.handle(sent, None)), ErrorCode::HttpRequestHeaderSectionSize(Some(_))));
    }
    // More than we hold: a limit, in one `fields` and in many.
    let stopped = |error: HeaderFailure| match error {
        HeaderFailure::Trap(error) => assert_eq!(error.downcast_ref(), Some(&Stop(LimitName::HostMemory))),
        HeaderFailure::Guest(error) => panic!("{error:?}"),
    };
    let map = fields(&mut sandbox);
    let error =
        (0..).find_map(|_| HostFields::append(&mut sandbox, again(&map), "n".to_owned(), vec![b'v'; 100]).err());
    stopped(error.unwrap());
    assert_eq!(HostFields::get(&mut sandbox, again(&map), "n".to_owned()).unwrap().len(), 512);
    let error = HostFields::set(&mut sandbox, again(&map), "n".to_owned(), vec![vec![b'v'; 1 << 20]]).unwrap_err();
    stopped(error);
    HostFields::set(&mut sandbox, again(&map), "n".to_owned(), vec![vec![b'v'; 200 << 10]]).unwrap();
    let error = (0..).find_map(|_| HostFields::clone(&mut sandbox, again(&map)).err()).unwrap();
    assert_eq!(error.downcast_ref(), Some(&Stop(LimitName::HostMemory)));
    // Bodies in flight count too.
    let mut sandbox = bare();
    let error = (0..).find_map(|_| {
        let sent = request(&mut sandbox, Method::Post, &[]);
        HostOutgoingRequest::body(&mut sandbox, sent).err()
    });
    assert_eq!(error.unwrap().downcast_ref(), Some(&Stop(LimitName::HostMemory)));
}

#[test]
fn methods_and_urls_are_checked() {
    let mut sandbox = sandbox(reading(|request| {
        let seen = [METHOD_HEADER, URL_HEADER].map(|name| request.headers()[name].to_str().unwrap().to_owned());
        Response::new(full(seen.join(" ")))
    }));
    let sent = request(&mut sandbox, Method::Get, &[]);
    for method in ["", "A B", "GET\r\n", "\u{e4}", &"A".repeat(65)] {
        assert!(sandbox.set_method(again(&sent), Method::Other(method.to_owned())).unwrap().is_err(), "{method:?}");
    }
    for scheme in ["", "a b", "1a\n"] {
        assert!(
            sandbox.set_scheme(again(&sent), Some(Scheme::Other(scheme.to_owned()))).unwrap().is_err(),
            "{scheme:?}"
        );
    }
    let long = "a".repeat(600);
    for authority in ["", "a b", "user:secret@host", "host\r\n", "a/b", "host:80:80x", ":80", &long] {
        assert!(sandbox.set_authority(again(&sent), Some(authority.to_owned())).unwrap().is_err(), "{authority:?}");
    }
    for path in ["no-slash", "/a b", "/a\r\nb", "/a#b", "/\0", "*", "/\u{e4}", "http://other/", &"/".repeat(1 << 20)] {
        assert!(sandbox.set_path_with_query(again(&sent), Some(path.to_owned())).unwrap().is_err(), "{path:?}");
    }
    // Invalid requests.
    for (method, scheme, path, expected) in [
        (Method::Connect, Scheme::Https, "/", ErrorCode::HttpRequestMethodInvalid),
        (Method::Trace, Scheme::Https, "/", ErrorCode::HttpRequestMethodInvalid),
        (Method::Other("TRACE".to_owned()), Scheme::Https, "/", ErrorCode::HttpRequestMethodInvalid),
        (Method::Other("Track".to_owned()), Scheme::Https, "/", ErrorCode::HttpRequestMethodInvalid),
        (Method::Get, Scheme::Other("ftp".to_owned()), "/", ErrorCode::HttpRequestUriInvalid),
        (Method::Get, Scheme::Http, &format!("/{}", "x".repeat(20_000)), ErrorCode::HttpRequestUriTooLong),
    ] {
        let sent = request(&mut sandbox, method, &[]);
        sandbox.set_scheme(again(&sent), Some(scheme)).unwrap().unwrap();
        sandbox.set_path_with_query(again(&sent), Some(path.to_owned())).unwrap().unwrap();
        let got = code(sandbox.handle(sent, None));
        assert!(same(&got, &expected), "{got:?}");
    }
    let headers = fields(&mut sandbox);
    let sent = HostOutgoingRequest::new(&mut sandbox, headers).unwrap();
    assert!(matches!(code(sandbox.handle(sent, None)), ErrorCode::HttpRequestUriInvalid));
    // Valid requests.
    for (method, scheme, authority, path, expected) in [
        (Method::Get, None, "example.com", None, "GET https://example.com/"),
        (Method::Patch, Some(Scheme::Http), "h:81", Some("?q=1"), "PATCH http://h:81/?q=1"),
        (Method::Other("PURGE".to_owned()), Some(Scheme::Https), "[::1]:8443", Some(""), "PURGE https://[::1]:8443/"),
        (
            Method::Other("get".to_owned()),
            Some(Scheme::Https),
            "1.2.3.4",
            Some("/%2e%2e/x"),
            "get https://1.2.3.4/%2e%2e/x",
        ),
    ] {
        let sent = request(&mut sandbox, method, &[]);
        sandbox.set_scheme(again(&sent), scheme).unwrap().unwrap();
        sandbox.set_authority(again(&sent), Some(authority.to_owned())).unwrap().unwrap();
        sandbox.set_path_with_query(again(&sent), path.map(str::to_owned)).unwrap().unwrap();
        let future = sandbox.handle(sent, None).unwrap();
        let response = answer(&mut sandbox, &future).unwrap();
        let incoming = body(&mut sandbox, response);
        assert_eq!(String::from_utf8(read(&mut sandbox, &incoming, 1_000).0).unwrap(), expected);
    }
}
