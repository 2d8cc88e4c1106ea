//! Registries as settings name them: `host[:port][/prefix]`.

/// The text names no registry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImagesPlace {
    #[error("{place:?}: leave `{scheme}://` out; the form is HOST[:PORT][/PREFIX]{hint}", place = .0, scheme = .1, hint = hint(.1))]
    Scheme(String, String),
    #[error("{0:?} is not HOST[:PORT][/PREFIX]")]
    Registry(String),
    #[error("{0:?} is not a valid repository prefix: use a-z, 0-9, `.`, `_`, `-` and `/`")]
    Prefix(String),
}

/// The way to name a registry without TLS.
fn hint(scheme: &str) -> &'static str {
    if scheme == "http" { ", and `plain_http` (--plain-http) says that the registry has no TLS" } else { "" }
}

const MAX_PLACE: usize = 200;
const MAX_SCHEME: usize = 16;

/// Checks `host[:port][/prefix]` and returns it without a trailing `/`.
///
/// # Errors
/// [`InvalidImagesPlace`], which quotes the text.
pub fn images_place(text: &str) -> Result<String, InvalidImagesPlace> {
    let text = text.trim_end_matches('/');
    if let Some((scheme, _)) = text.split_once("://")
        && scheme.len() <= MAX_SCHEME
    {
        let shown: String = text.chars().take(MAX_PLACE).collect();
        // A password may stand before an `@`.
        let shown = if shown.contains('@') { format!("{scheme}://...") } else { shown };
        return Err(InvalidImagesPlace::Scheme(shown, scheme.to_owned()));
    }
    let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
    let authority = host.parse::<http::uri::Authority>();
    if host.is_empty() || text.len() > MAX_PLACE || authority.is_err() || host.contains('@') {
        return Err(InvalidImagesPlace::Registry(text.to_owned()));
    }
    if !prefix.is_empty() && !prefix.split('/').all(is_prefix_part) {
        return Err(InvalidImagesPlace::Prefix(prefix.to_owned()));
    }
    Ok(text.to_owned())
}

fn is_prefix_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    part.bytes().all(plain)
        && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && part.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_a_host_and_a_prefix() {
        for (text, place) in [
            ("registry.example", "registry.example"),
            ("127.0.0.1:5000/agents/", "127.0.0.1:5000/agents"),
            ("r.example/a-b/c_d/e.f//", "r.example/a-b/c_d/e.f"),
        ] {
            assert_eq!(images_place(text).as_deref(), Ok(place));
        }
        for text in ["", "/x", "user:pass@host/x", &"x".repeat(201), "a b/c"] {
            assert!(matches!(images_place(text), Err(InvalidImagesPlace::Registry(_))), "{text}");
        }
        for (text, parts) in
            [("https://r.example/x", ["leave `https://` out", "HOST"]), ("http://r/x", ["`http://`", "--plain-http"])]
        {
            let said = images_place(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
        for text in ["host/UPPER", "host/../x", "host/a//b", "host/-a"] {
            assert!(matches!(images_place(text), Err(InvalidImagesPlace::Prefix(_))), "{text}");
        }
    }
}
