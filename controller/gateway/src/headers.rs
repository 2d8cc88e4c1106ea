//! Headers on their way out and back. Headers of one connection, of the gateway and of proxies are not passed on, secrets
//! are put in and taken out, and number and size are bounded.

use cofferdam_contract::uplink::{MAX_HEADER_BYTES, MAX_HEADERS, RESERVED_PREFIX};
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::refusal::Refusal;
use crate::secrets::{Held, Outgoing};

/// Headers of one connection, and those that a proxy would read. The gateway writes `Host` and the length itself.
const NOT_PASSED: &[&str] = &[
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The names that a `Connection` header adds to [`NOT_PASSED`].
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

fn passed(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let named = named(headers);
    headers.iter().filter(move |(name, _)| {
        !NOT_PASSED.contains(&name.as_str()) && !name.as_str().starts_with(RESERVED_PREFIX) && !named.contains(name)
    })
}

/// True when a message has more headers, or longer ones, than it may have.
fn too_many(headers: &HeaderMap) -> bool {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES
}

/// The guest's headers as the upstream gets them. `readable`: the answer has to be searched for secrets, so it must not be
/// compressed.
///
/// # Errors
/// Too many of them, or a placeholder of a secret that must not be sent to the host.
pub(crate) fn to_upstream(given: &HeaderMap, secrets: Option<&Outgoing>, readable: bool) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in passed(given).filter(|(name, _)| *name != HOST && *name != CONTENT_LENGTH) {
        let replaced = match secrets {
            Some(secrets) => secrets.header(value).map_err(|why| Refusal::policy(why.0))?,
            None => None,
        };
        headers.append(name, replaced.unwrap_or_else(|| value.clone()));
    }
    if readable {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if too_many(&headers) {
        let detail = format!("A request has at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together.");
        return Err(Refusal::too_large(detail));
    }
    Ok(headers)
}

/// The upstream's headers as the guest gets them. `readable`: the body has to be searched for secrets.
///
/// # Errors
/// Too many of them, or a body that cannot be searched.
pub(crate) fn to_guest(given: &HeaderMap, secrets: Option<&Held>, readable: bool) -> Result<HeaderMap, Refusal> {
    if too_many(given) {
        let detail = format!("The answer has over {MAX_HEADERS} headers, or over {MAX_HEADER_BYTES} bytes of them.");
        return Err(Refusal::too_large(detail));
    }
    let encoded = given.get(CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if readable && encoded {
        let detail = "The answer is compressed although the request did not allow it. A secret is bound to this host, and \
                      a compressed answer cannot be searched for its value.";
        return Err(Refusal::bad_answer(detail));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in passed(given) {
        let scrubbed = match secrets {
            Some(secrets) => secrets.scrub_header(value).map_err(|why| Refusal::bad_answer(why.0))?,
            None => None,
        };
        headers.append(name, scrubbed.unwrap_or_else(|| value.clone()));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse::<HeaderValue>().unwrap())).collect()
    }

    #[test]
    fn headers_of_one_connection_and_of_the_gateway_are_not_passed_on() {
        let given = [
            ("accept", "a"),
            ("host", "evil.example"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "x"),
            ("expect", "100-continue"),
            ("cofferdam-token", "x"),
            ("cofferdam-anything", "x"),
            ("cookie", "a=b"),
        ];
        let sent = to_upstream(&map(&given), None, false).unwrap();
        assert_eq!(sent, map(&[("accept", "a"), ("cookie", "a=b")]));
        let sent = to_upstream(&map(&[("accept-encoding", "gzip, br")]), None, true).unwrap();
        assert_eq!(sent, map(&[("accept-encoding", "identity")]));
        let answered =
            [("set-cookie", "a=b"), ("set-cookie", "c=d"), ("cofferdam-refused", "policy"), ("keep-alive", "x")];
        let mut expected = map(&[("set-cookie", "a=b")]);
        expected.append("set-cookie", "c=d".parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in answered {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        assert_eq!(to_guest(&headers, None, false).unwrap(), expected);
    }

    #[test]
    fn number_and_size_are_bounded() {
        let many: HeaderMap = (0..=MAX_HEADERS)
            .map(|n| (format!("x-{n}").parse::<HeaderName>().unwrap(), "1".parse().unwrap()))
            .collect();
        assert!(to_upstream(&many, None, false).is_err() && to_guest(&many, None, false).is_err());
        let long = map(&[("x", &"y".repeat(MAX_HEADER_BYTES))]);
        assert!(to_upstream(&long, None, false).is_err() && to_guest(&long, None, false).is_err());
        let gzip = map(&[("content-encoding", "gzip")]);
        assert!(to_guest(&gzip, None, true).is_err() && to_guest(&gzip, None, false).is_ok());
    }
}
