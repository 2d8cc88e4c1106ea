//! The key that a request carries, in any of the headers that clients use. Never says if it is valid.

use cofferdam_contract::Problem;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Headers that have a key and nothing else.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-xpander-api-key"];

/// The key of a request: `x-api-key`, `x-xpander-api-key`, or `Authorization: Bearer`. The same one may come twice.
///
/// # Errors
/// [`Problem::unauthorized`] if there are two different ones: nobody can say on whose behalf the call would be.
pub fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let plain = KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name)).filter_map(|value| value.to_str().ok());
    let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    let mut keys = plain.chain(bearer).map(str::trim).filter(|key| !key.is_empty());
    let Some(first) = keys.next() else { return Ok(None) };
    if keys.any(|key| key != first) {
        let detail = "The request has two different keys. Send one, as `x-api-key`, `x-xpander-api-key` or \
                      `Authorization: Bearer`, and unset the other in the client.";
        return Err(Problem::unauthorized(detail));
    }
    Ok(Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    /// Headers, and the key that is found in them.
    type Case = (&'static [(&'static str, &'static str)], Result<Option<&'static str>, ()>);

    #[test]
    fn one_key_in_any_header() {
        let cases: [Case; 16] = [
            (&[], Ok(None)),
            (&[("x-api-key", "a")], Ok(Some("a"))),
            (&[("x-xpander-api-key", "a")], Ok(Some("a"))),
            (&[("authorization", "Bearer a")], Ok(Some("a"))),
            (&[("authorization", "bearer  a ")], Ok(Some("a"))),
            (&[("authorization", "Basic a")], Ok(None)),
            (&[("authorization", "a")], Ok(None)),
            (&[("authorization", "Bearer ")], Ok(None)),
            (&[("x-api-key", "")], Ok(None)),
            (&[("x-api-key", ""), ("authorization", "Bearer a")], Ok(Some("a"))),
            (&[("x-api-key", "a"), ("authorization", "Bearer a"), ("x-xpander-api-key", "a")], Ok(Some("a"))),
            (&[("x-api-key", "a"), ("authorization", "Bearer b")], Err(())),
            (&[("x-api-key", "a"), ("x-xpander-api-key", "b")], Err(())),
            (&[("x-api-key", "a"), ("x-api-key", "b")], Err(())),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], Err(())),
            (&[("x-api-key", "a"), ("authorization", "Basic b")], Ok(Some("a"))),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(presented_key(&headers).map_err(drop), expected, "{sent:?}");
        }
    }
}
