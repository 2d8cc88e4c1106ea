//! Headers on their way out and back: lists of those that pass. Everything else may tell about the other side, or change what
//! a request means.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::kind::{Kind, Service};
use crate::scrub::Scrub;

/// Counts the servers of this kind on a call's way: one whose upstream leads back to it must not call itself for ever.
const HOPS: HeaderName = HeaderName::from_static("x-cofferdam-hops");

/// The most headers of a caller that go out, and their most bytes together.
const MAX_PASSED: usize = 32;
const MAX_PASSED_BYTES: usize = 8 << 10;
/// The most headers of an answer that come back.
const MAX_RETURNED: usize = 48;

/// The headers of the caller's that this kind of upstream gets.
pub(crate) fn to_upstream(given: &HeaderMap, kind: Kind, service: Service) -> HeaderMap {
    let anthropic = matches!(service, Service::Messages | Service::CountTokens) && kind != Kind::Bedrock;
    let passes = |name: &HeaderName| match name.as_str() {
        "anthropic-beta" | "anthropic-version" => anthropic,
        "openai-beta" => !anthropic && kind != Kind::Bedrock,
        "user-agent" => kind != Kind::Bedrock,
        name => name.starts_with("x-stainless-") && kind != Kind::Bedrock,
    };
    let (mut passed, mut bytes) = (HeaderMap::new(), 0);
    for (name, value) in given.iter().filter(|(name, _)| passes(name)).take(MAX_PASSED) {
        bytes += name.as_str().len() + value.len();
        if bytes > MAX_PASSED_BYTES {
            break;
        }
        passed.append(name.clone(), value.clone());
    }
    if kind != Kind::Bedrock {
        passed.insert(HOPS, HeaderValue::from(hops(given).saturating_add(1)));
    }
    passed
}

/// The number of these servers that a call has come through, as the last one says.
pub fn hops(given: &HeaderMap) -> u32 {
    given.get(HOPS).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default()
}

/// True for a header that the server sets itself, or that holds a key: none that settings may name.
pub(crate) fn is_own(name: &HeaderName) -> bool {
    const OWN: &[HeaderName] = &[
        ACCEPT_ENCODING,
        AUTHORIZATION,
        CONNECTION,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        COOKIE,
        EXPECT,
        HOST,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    let text = name.as_str();
    OWN.contains(name)
        || matches!(text, "api-key" | "x-api-key" | "x-goog-api-key" | "keep-alive")
        || ["proxy-", "x-amz-", "x-cofferdam-", "x-stainless-"].iter().any(|start| text.starts_with(start))
}

/// The headers of an answer that a caller can use. Those with a key in them are left out.
pub(crate) fn to_caller(given: &HeaderMap, scrub: Option<&Scrub>) -> HeaderMap {
    let known = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "content-type"
                | "retry-after"
                | "retry-after-ms"
                | "request-id"
                | "x-request-id"
                | "x-amzn-requestid"
                | "apim-request-id"
                | "x-should-retry"
                | "openai-processing-ms"
                | "openai-version"
                | "openai-model"
        ) || ["anthropic-ratelimit-", "x-ratelimit-"].iter().any(|start| name.as_str().starts_with(start))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in given.iter().filter(|(name, _)| known(name)).take(MAX_RETURNED) {
        if !scrub.is_some_and(|scrub| scrub.holds_key(value.as_bytes())) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use cofferdam_core::Secret;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn only_what_the_protocol_knows_goes_out() {
        let given = map(&[
            ("authorization", "Bearer caller"),
            ("x-api-key", "caller"),
            ("cookie", "a=b"),
            ("host", "evil"),
            ("x-forwarded-for", "1.2.3.4"),
            ("anthropic-beta", "a"),
            ("anthropic-version", "2023-06-01"),
            ("openai-beta", "b"),
            ("openai-organization", "callers"),
            ("user-agent", "client"),
            ("x-stainless-lang", "python"),
        ]);
        let passed = to_upstream(&given, Kind::Anthropic, Service::Messages);
        assert_eq!(
            names(&passed),
            ["anthropic-beta", "anthropic-version", "user-agent", "x-stainless-lang", HOPS.as_str()]
        );
        let passed = to_upstream(&given, Kind::Openai, Service::Chat);
        assert_eq!(names(&passed), ["openai-beta", "user-agent", "x-stainless-lang", HOPS.as_str()]);
        assert!(to_upstream(&given, Kind::Bedrock, Service::Messages).is_empty());
        let long = map(&[("user-agent", &"x".repeat(MAX_PASSED_BYTES)), ("openai-beta", "b")]);
        assert_eq!(names(&to_upstream(&long, Kind::Openai, Service::Chat)), [HOPS.as_str()]);
        let again = to_upstream(&map(&[("x-cofferdam-hops", "3")]), Kind::Openai, Service::Chat);
        assert_eq!((hops(&again), hops(&map(&[("x-cofferdam-hops", "-1")])), hops(&given)), (4, 0, 0));
    }

    #[test]
    fn only_what_helps_a_caller_comes_back() {
        let given = map(&[
            ("content-type", "application/json"),
            ("set-cookie", "a=b"),
            ("openai-organization", "operators"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("anthropic-ratelimit-requests-reset", "x"),
            ("x-request-id", "req sk-0123456789abc"),
            ("retry-after", "3"),
            ("x-cofferdam-call", "forged"),
        ]);
        let scrub = Scrub::new(&[Secret::new("sk-0123456789abc")]).unwrap();
        let mut found = names(&to_caller(&given, scrub.as_ref())).join(" ");
        assert_eq!(found, "content-type x-ratelimit-remaining-tokens anthropic-ratelimit-requests-reset retry-after");
        found.clear();
        let many: HeaderMap = (0..200)
            .map(|n| (format!("x-ratelimit-{n}").parse::<HeaderName>().unwrap(), "1".parse().unwrap()))
            .collect();
        assert_eq!(to_caller(&many, None).len(), MAX_RETURNED);
    }
}
