//! Signatures of Amazon's version 4. Holds no clock: the time is the caller's.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A request that is signed.
pub(crate) struct Signable<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    /// Headers that the signature covers, besides those that it adds.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    pub(crate) time: SystemTime,
}

/// The headers that the signature adds. `None`: the request cannot be signed.
pub(crate) fn signature(credentials: &Credentials, request: &Signable<'_>) -> Option<HeaderMap> {
    let identity = credentials.clone().into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(request.time)
        .settings(SigningSettings::default())
        .build()
        .ok()?
        .into();
    let body = SignableBody::Bytes(request.body);
    let signable = SignableRequest::new(request.method, request.url, request.headers.iter().copied(), body).ok()?;
    let (instructions, _) = sign(signable, &params).ok()?.into_parts();
    let mut added = HeaderMap::new();
    for (name, value) in instructions.headers() {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        added.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(added)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Signatures of AWS's published test suite: `post-vanilla`, `get-vanilla-query-order-key-case`, `post-sts-header-before`.
    #[test]
    fn the_published_vectors_are_met() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        for (method, path, token, signature_of) in [
            ("POST", "/", None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                None,
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("POST", "/", Some(token), "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
        ] {
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            let credentials = Credentials::new("AKIDEXAMPLE", secret, token.map(str::to_owned), None, "test");
            let url = format!("https://example.amazonaws.com{path}");
            let request = Signable {
                region: "us-east-1",
                service: "service",
                method,
                url: &url,
                headers: &[("host", "example.amazonaws.com")],
                body: b"",
                time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160),
            };
            let added = signature(&credentials, &request).unwrap();
            let authorization = added.get("authorization").unwrap().to_str().unwrap();
            assert!(authorization.ends_with(&format!("Signature={signature_of}")), "{method} {path} {authorization}");
            assert_eq!(added.get("x-amz-security-token").is_some(), token.is_some());
            assert!(!format!("{added:?}").contains("AKID"));
        }
    }
}
