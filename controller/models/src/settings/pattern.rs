//! Names of documents, and names and patterns of models. In a pattern `*` stands for any characters, also for none; nothing
//! else is special.

/// The longest name or pattern of a model, in bytes.
pub(super) const MAX_MODEL_BYTES: usize = 256;
/// The longest name of a document, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 64;

/// Checks the name of a document.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
        return Err(format!("name: 1 to {MAX_NAME_BYTES} of a-z, 0-9, `-`, `_` and `.`"));
    }
    // A browser or a proxy takes these out of a path.
    if name.bytes().all(|byte| byte == b'.') {
        return Err("name: must not be only dots".to_owned());
    }
    Ok(())
}

/// The most `*` of a pattern: many make it slow to compare.
const MAX_STARS: usize = 4;

/// Checks a model's name, or a pattern of them.
pub(super) fn check_model(field: &str, text: &str, stars: bool) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@+".contains(&b) || (stars && b == b'*');
    if text.is_empty() || text.len() > MAX_MODEL_BYTES || !text.bytes().all(plain) {
        let star = if stars { ", and `*` for any characters" } else { "" };
        return Err(format!(
            "{field}: 1 to {MAX_MODEL_BYTES} letters, digits and `-`, `_`, `.`, `/`, `:`, `@`, `+`{star}"
        ));
    }
    if text.bytes().filter(|byte| *byte == b'*').count() > MAX_STARS {
        return Err(format!("{field}: at most {MAX_STARS} `*`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "eu-1", "x.y_z", &"a".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "A", "a/b", "a b", "a\0", "é", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
