//! Refuses requests whose framing or target two servers in a row could read differently (RFC 9112): the one in front of us
//! would believe another host, or another end of the body, than we do.
//!
//! hyper has refused folded header lines, contradicting lengths and transfer codings of HTTP/1.0 before. Never looks at a
//! body.

use cofferdam_contract::Problem;
use http::header::{HOST, HeaderName, TE, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Request, Version};

/// The ways in which a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length, or there is none.
    Plain,
    /// By a last chunk. hyper takes a `Content-Length` beside it away unseen; a server in front of us that believed it would
    /// see another request behind this one. So the connection is closed after the answer.
    Chunked,
}

/// Judges a request's head.
///
/// # Errors
/// [`Problem::malformed`] with the rule that the request breaks.
pub(super) fn judge<B>(request: &Request<B>) -> Result<Framing, Problem> {
    let headers = request.headers();
    judge_host(request)?;
    if let Some(te) = headers.get(TE)
        && !(te.is_empty() || te.as_bytes().eq_ignore_ascii_case(b"trailers"))
    {
        return Err(Problem::malformed("TE: only `trailers` is supported."));
    }
    let Some(coding) = single(headers, &TRANSFER_ENCODING)? else { return Ok(Framing::Plain) };
    if !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(Problem::malformed("Transfer-Encoding: only `chunked` is supported."));
    }
    Ok(Framing::Chunked)
}

/// The value of a header that may come once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Problem::malformed(format!("The header `{name}` may come once only."))),
        None => Ok(first.map(http::HeaderValue::as_bytes)),
    }
}

fn judge_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let Some(host) = single(request.headers(), &HOST)? else {
        return match request.version() {
            Version::HTTP_09 | Version::HTTP_10 => Ok(()),
            _ => Err(Problem::malformed("The header `host` is missing.")),
        };
    };
    if !host.iter().all(|byte| is_of_a_host(*byte)) {
        return Err(Problem::malformed("The header `host` is not HOST or HOST:PORT."));
    }
    match request.uri().authority() {
        Some(target) if !same(target, host) => {
            Err(Problem::malformed("The request's target names another host than the header `host`."))
        }
        _ => Ok(()),
    }
}

/// The characters of a name, an address and a port.
fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

fn same(target: &Authority, host: &[u8]) -> bool {
    // HTTP's own port may be left out.
    let plain = |text: &[u8]| text.strip_suffix(b":80").unwrap_or(text).to_ascii_lowercase();
    plain(target.as_str().as_bytes()) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, target: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(target).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        const H: (&str, &str) = ("host", "a:8080");
        for (target, headers, judged) in [
            ("/", &[H][..], Ok(Framing::Plain)),
            ("/", &[("host", "[::1]:8080")], Ok(Framing::Plain)),
            ("/", &[("host", "")], Ok(Framing::Plain)),
            ("/", &[H, ("te", "trailers"), ("content-length", "5")], Ok(Framing::Plain)),
            ("/", &[H, ("transfer-encoding", "Chunked")], Ok(Framing::Chunked)),
            ("http://A:8080/x", &[H], Ok(Framing::Plain)),
            ("http://a/x", &[("host", "a:80")], Ok(Framing::Plain)),
            ("/", &[], Err("missing")),
            ("/", &[H, H], Err("once only")),
            ("/", &[H, ("host", "b")], Err("once only")),
            ("/", &[("host", "a/b")], Err("not HOST")),
            ("/", &[("host", "u@a")], Err("not HOST")),
            ("/", &[("host", "a b")], Err("not HOST")),
            ("http://b/x", &[H], Err("another host")),
            ("http://a:8081/x", &[H], Err("another host")),
            ("/", &[H, ("te", "gzip")], Err("TE")),
            ("/", &[H, ("te", "trailers, deflate;q=0.5")], Err("TE")),
            ("/", &[H, ("transfer-encoding", "gzip, chunked")], Err("only `chunked`")),
            ("/", &[H, ("transfer-encoding", "identity")], Err("only `chunked`")),
            ("/", &[H, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Err("once only")),
        ] {
            match (judge(&request(Version::HTTP_11, target, headers)), judged) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{target} {headers:?}"),
                (Err(problem), Err(part)) => {
                    assert!(problem.status == 400 && problem.detail.contains(part), "{headers:?}: {}", problem.detail);
                }
                (found, _) => panic!("{target} {headers:?}: {found:?}"),
            }
        }
        assert!(judge(&request(Version::HTTP_10, "/", &[])).is_ok());
    }
}
