//! The names of tools: which of a server's tools are offered, and as what. Pure.

use cofferdam_contract::work::ConnectorSpec;

/// The longest name that providers of models take.
pub(crate) const MAX_OFFERED_BYTES: usize = 64;
/// The longest name of a server for a tool.
const MAX_ORIGINAL_BYTES: usize = 256;

/// True if providers of models take the name.
pub(crate) fn is_offered(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=MAX_OFFERED_BYTES).contains(&name.len()) && name.bytes().all(plain)
}

/// Compares a name with a pattern, in which `*` stands for any characters, also none.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // The rest after the last star, and where in the name it is tried.
    let mut back: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (Some((b'*', rest)), _) => {
                back = Some((rest, name));
                pattern = rest;
            }
            (Some((p, rest)), Some((n, others))) if p == n => (pattern, name) = (rest, others),
            (None, None) => return true,
            _ => match back.and_then(|(rest, tried)| Some((rest, tried.split_first()?.1))) {
                Some((rest, tried)) => {
                    back = Some((rest, tried));
                    (pattern, name) = (rest, tried);
                }
                None => return false,
            },
        }
    }
}

/// The name that a tool is offered under; `Ok(None)`: it is filtered out.
///
/// # Errors
/// The reason for which it cannot be offered.
pub(crate) fn offered(spec: &ConnectorSpec, original: &str) -> Result<Option<String>, &'static str> {
    if original.is_empty() || original.len() > MAX_ORIGINAL_BYTES || original.chars().any(char::is_control) {
        return Err("its name is empty, too long or has control characters");
    }
    let wanted = spec.only.as_ref().is_none_or(|only| only.iter().any(|pattern| matches(pattern, original)));
    if !wanted || spec.exclude.iter().any(|pattern| matches(pattern, original)) {
        return Ok(None);
    }
    if let Some(name) = spec.rename.get(original) {
        return Ok(Some(name.clone()));
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let prefix = spec.prefix.as_deref().unwrap_or_default();
    let name: String = prefix.chars().chain(original.chars().map(plain)).collect();
    match name.len() <= MAX_OFFERED_BYTES {
        true => Ok(Some(name)),
        false => Err("its name is longer than models' providers take; give it another one with `rename`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names_quickly() {
        for (pattern, name, expected) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*d", "abc", false),
            ("*", "", true),
            ("abc", "abcd", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_are_filtered_and_made_fit() {
        let spec = ConnectorSpec {
            only: Some(vec!["get_*".to_owned(), "files/*".to_owned()]),
            exclude: vec!["*_secret".to_owned()],
            rename: [("get_a".to_owned(), "fetch".to_owned())].into(),
            prefix: Some("gh_".to_owned()),
            ..ConnectorSpec::default()
        };
        assert_eq!(offered(&spec, "get_a"), Ok(Some("fetch".to_owned())));
        assert_eq!(offered(&spec, "files/read.x"), Ok(Some("gh_files_read_x".to_owned())));
        assert_eq!(offered(&spec, "get_secret"), Ok(None));
        assert_eq!(offered(&spec, "put"), Ok(None));
        assert!(offered(&spec, "get_\u{1b}").is_err() && offered(&spec, &format!("get_{}", "x".repeat(80))).is_err());
    }
}
