//! Names that people give to keys and organizations.

use cofferdam_contract::Problem;
use cofferdam_contract::text::is_invisible;

/// The longest name, in characters.
const MAX_NAME: usize = 100;

/// # Errors
/// [`Problem::invalid`] for a name that is empty, too long, or looks like another one.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let odd = |c: char| c.is_control() || is_invisible(c);
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(odd) {
        let detail = format!("name: 1 to {MAX_NAME} characters, no control characters, none that is not seen");
        return Err(Problem::invalid(detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_looks_like() {
        for good in ["ci", "naïve 'quoted'", "団体", "a b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        for bad in ["", " ", "a\nb", "a\0", "\u{1b}[2J", "admin\u{202e}x", "a\u{200b}b", "\u{2800}", &long] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
