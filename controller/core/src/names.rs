//! Checks of names that several crates need: Kubernetes labels and environment variables.

use cofferdam_contract::Problem;

/// The longest name of an environment variable, in bytes.
const MAX_VARIABLE_NAME: usize = 128;
/// The longest value of an environment variable, in bytes.
const MAX_VARIABLE_BYTES: usize = 32 << 10;

/// Returns true for a DNS label as Kubernetes uses it: 1 to 63 of `a-z`, `0-9` and `-`, with no `-` first or last.
pub fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| plain(b) || b == b'-')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().next_back().is_some_and(plain)
}

/// Checks the name of a container's environment variable.
///
/// # Errors
/// [`Problem::invalid`] that shows the name.
pub fn check_variable_name(name: &str) -> Result<(), Problem> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if !first || name.len() > MAX_VARIABLE_NAME || !name.bytes().all(plain) {
        let shown: String = name.chars().take(80).collect();
        return Err(Problem::invalid(format!(
            "{shown:?} is not a valid variable name: use 1 to {MAX_VARIABLE_NAME} letters, digits, `_`, `-` or `.`, and \
             do not start with a digit"
        )));
    }
    if name.starts_with("COFFERDAM_") {
        return Err(Problem::invalid(format!("{name}: names that start with COFFERDAM_ are reserved")));
    }
    Ok(())
}

/// Checks the value of a container's environment variable.
///
/// # Errors
/// [`Problem::invalid`] that names the variable and never shows its value.
pub fn check_variable_value(name: &str, value: &str) -> Result<(), Problem> {
    if value.len() > MAX_VARIABLE_BYTES || value.contains('\0') {
        return Err(Problem::invalid(format!("{name}: at most {MAX_VARIABLE_BYTES} bytes of text, no NUL")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_names_are_checked() {
        for good in ["A", "_x", "API_KEY", "a.b-c", &"x".repeat(128)] {
            assert!(check_variable_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", "1A", "A=B", "A B", "é", "-a", "COFFERDAM_X", &"x".repeat(129)] {
            assert!(check_variable_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_variable_value("A", "007").is_ok() && check_variable_value("A", "").is_ok());
        let problem = check_variable_value("A", "hush\0hush").unwrap_err();
        assert!(!problem.detail.contains("hush"), "{}", problem.detail);
    }

    #[test]
    fn labels_are_checked() {
        for good in ["a", "a-b", "0", &"x".repeat(63)] {
            assert!(is_label(good), "{good:?}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad:?}");
        }
    }
}
