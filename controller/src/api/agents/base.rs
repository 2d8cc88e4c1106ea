//! The address under which a caller has reached us, for links.

use http::HeaderMap;
use http::header::HOST;

use crate::config::Config;

const MOST: usize = 255;

/// What links begin with: the operator's word, else the request's. Whoever sends another host than ours gets a link that
/// leads there, and nobody else does.
pub fn base(config: &Config, headers: &HeaderMap) -> String {
    if let Some(url) = &config.uploads.public_url {
        return url.clone();
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A proxy in front may be one of several; the first saw the client.
    let first = |name: &str| text(name).and_then(|value| value.split(',').next()).map(str::trim);
    let authority = |host: &&str| {
        host.len() <= MOST
            && host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'))
    };
    let host = first("x-forwarded-host").filter(authority).or_else(|| text(HOST.as_str()).filter(authority));
    let scheme = first("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
    match host {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("http://{}", config.listen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn a_link_begins_with_what_the_caller_has_reached() {
        let parse = |url: &'static str| {
            let look = move |name: &str| match name {
                "HOME" => Some("/home/x".to_owned()),
                "COFFERDAM_PUBLIC_URL" => Some(url.to_owned()),
                _ => None,
            };
            Config::parse(&Flags::default(), &look, None).unwrap()
        };
        let unset = parse("");
        let with = |list: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            list.iter().for_each(|(name, value)| drop(headers.insert(*name, value.parse().unwrap())));
            base(&unset, &headers)
        };
        assert_eq!(with(&[("host", "a.example:8080")]), "http://a.example:8080");
        let proxied =
            [("host", "10.0.0.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "api.example, proxy")];
        assert_eq!(with(&proxied), "https://api.example");
        for odd in ["a/../b", "u:p@host", "a b", "é", &"x".repeat(300)] {
            assert_eq!(with(&[("host", odd)]), "http://127.0.0.1:8080", "{odd}");
        }
        assert_eq!(with(&[("host", "h"), ("x-forwarded-proto", "javascript")]), "http://h");
        assert_eq!(base(&parse("https://api.example/x/"), &HeaderMap::new()), "https://api.example/x");
    }
}
