//! `WWW-Authenticate`, as a server says who may come in. Pure.

use http::{HeaderMap, header};

/// The longest header that is read.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// The words of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The address of the metadata of the protected resource.
    pub(crate) resource_metadata: Option<String>,
    /// The scopes that are needed.
    pub(crate) scope: Option<String>,
    pub(crate) error: Option<String>,
}

impl Challenge {
    /// Reads the challenge for bearer tokens. Nonsense is as good as none.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let texts = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let texts = texts.filter_map(|value| value.to_str().ok()).filter(|text| text.len() <= MAX_HEADER_BYTES);
        let mut found = Self::default();
        for text in texts {
            for (name, value) in parameters(text) {
                let place = match name.to_ascii_lowercase().as_str() {
                    "resource_metadata" => &mut found.resource_metadata,
                    "scope" => &mut found.scope,
                    "error" => &mut found.error,
                    _ => continue,
                };
                place.get_or_insert(value);
            }
        }
        found
    }
}

/// The `name=value` pairs of a header; values may be quoted.
fn parameters(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.rsplit([' ', ',', '\t']).next().unwrap_or_default().to_owned();
        let (value, others) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (mut value, mut escaped, mut end) = (String::new(), false, quoted.len());
                for (at, c) in quoted.char_indices() {
                    match c {
                        _ if escaped => {
                            value.push(c);
                            escaped = false;
                        }
                        '\\' => escaped = true,
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        c => value.push(c),
                    }
                }
                (value, quoted.get(end..).unwrap_or_default())
            }
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after.get(..end).unwrap_or_default().to_owned(), after.get(end..).unwrap_or_default())
            }
        };
        found.push((name, value));
        rest = others;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let read =
            |text: &str| Challenge::read(&[(header::WWW_AUTHENTICATE, text.parse().unwrap())].into_iter().collect());
        let found = read(
            r#"Basic realm="a, scope=\"x\"", Bearer error="invalid_token", resource_metadata="https://a/x?b=c", scope="a b""#,
        );
        assert_eq!(found.resource_metadata.as_deref(), Some("https://a/x?b=c"));
        assert_eq!((found.scope.as_deref(), found.error.as_deref()), (Some("a b"), Some("invalid_token")));
        assert_eq!(read("Bearer"), Challenge::default());
        assert_eq!(read(r#"Bearer scope="open"#).scope.as_deref(), Some("open"));
        assert_eq!(read("Bearer =, ==\"").resource_metadata, None);
    }
}
