//! Headers on their way out and back. Headers of one connection, of the gateway and of proxies are not passed on, secrets
//! are put in and taken out, and number and size are bounded.

use cofferdam_contract::uplink::{MAX_HEADER_BYTES, MAX_HEADERS, RESERVED_PREFIX};
use cofferdam_redact::Effort;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING,
};
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

/// Character sets in which ASCII is not written as ASCII, by the beginnings of their names.
const WIDE_CHARSETS: &[&str] = &[
    "utf-16",
    "utf16",
    "utf-32",
    "utf32",
    "utf-7",
    "utf7",
    "ucs-",
    "ucs2",
    "ucs4",
    "iso-10646",
    "unicode",
    "ebcdic",
    "ibm037",
    "ibm500",
    "ibm1047",
    "cp037",
];

/// The words of all lines of a header. Bytes that are no text make a word that none is equal to.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// Refuses an answer whose body is written in a way that hides a secret's value from a search.
fn searchable(given: &HeaderMap) -> Result<(), Refusal> {
    let is_other = |name: &HeaderName, plain: &str| words(given, name).any(|word| !word.eq_ignore_ascii_case(plain));
    if is_other(&CONTENT_ENCODING, "identity") || is_other(&TRANSFER_ENCODING, "chunked") {
        let detail = "The answer is compressed although the request did not allow it. A secret is bound to this host, and \
                      a compressed answer cannot be searched for its value.";
        return Err(Refusal::bad_answer(detail));
    }
    let is_wide = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        // Readers differ in which of several they believe.
        let charsets = text.split([';', ',']).filter_map(|part| part.trim().strip_prefix("charset"));
        let mut charsets = charsets.map(|rest| rest.trim_start_matches([' ', '\t', '=', '"', '\'']));
        charsets.any(|charset| WIDE_CHARSETS.iter().any(|wide| charset.starts_with(wide)))
    };
    if given.get_all(CONTENT_TYPE).iter().any(is_wide) {
        let detail = "The answer's character set does not write ASCII as ASCII. A secret is bound to this host, and such an \
                      answer cannot be searched for its value.";
        return Err(Refusal::bad_answer(detail));
    }
    Ok(())
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
    if readable {
        searchable(given)?;
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    // All headers share it, or each of many could cost as much as a long one.
    let mut effort = Effort::new(given.iter().map(|(name, value)| name.as_str().len() + value.len()).sum());
    for (name, value) in passed(given) {
        let scrubbed = match secrets {
            // The name itself would show the value.
            Some(secrets) if secrets.is_in_name(name, &mut effort) => continue,
            Some(secrets) => secrets.scrub_header(value, &mut effort).map_err(|why| Refusal::bad_answer(why.0))?,
            None => None,
        };
        headers.append(name, scrubbed.unwrap_or_else(|| value.clone()));
    }
    // A placeholder is longer than a short secret.
    if too_many(&headers) {
        let detail = format!("With its secrets taken out, the answer has over {MAX_HEADER_BYTES} bytes of headers.");
        return Err(Refusal::too_large(detail));
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
    }

    #[test]
    fn answers_that_cannot_be_searched_are_refused_where_a_secret_is_bound() {
        for (lines, searchable) in [
            (&[("content-encoding", "gzip")][..], false),
            (&[("content-encoding", "identity"), ("content-encoding", "gzip")], false),
            (&[("content-encoding", "identity, br")], false),
            (&[("content-encoding", "x\u{e9}")], false),
            (&[("content-encoding", "Identity"), ("content-encoding", "")], true),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "Chunked"), ("content-type", "text/html; charset=utf-8")], true),
            (&[("content-type", "text/plain; Charset=\"UTF-16LE\"")], false),
            (&[("content-type", "text/plain;charset=utf-7")], false),
            (&[("content-type", "text/plain; charset=utf-8; charset=utf-16")], false),
            (&[("content-type", "text/plain; charset=shift_jis")], true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
            assert_eq!(to_guest(&headers, None, true).is_ok(), searchable, "{lines:?}");
            assert!(to_guest(&headers, None, false).is_ok(), "{lines:?}");
        }
    }
}
