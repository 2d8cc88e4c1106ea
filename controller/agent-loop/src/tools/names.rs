//! Names that providers of models take: unique, 1 to 64 of `[a-zA-Z0-9_-]`. The same tools get the same names every time.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

const MAX_NAME: usize = 64;
/// Hex digits of the hash that tells two tools apart.
const HASH_DIGITS: usize = 8;

/// The names that are given.
#[derive(Default)]
pub(super) struct Taken(HashSet<String>);

impl Taken {
    /// The name, as far as it is free and fits; else a shorter one with a hash of what the tool is.
    pub(super) fn give(&mut self, wanted: &str, identity: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
        let fits: String = wanted.chars().map(plain).collect();
        let changed = fits != wanted || fits.is_empty() || fits.len() > MAX_NAME;
        let mut name = fits.clone();
        let mut turn = 0_u32;
        while name.is_empty() || name.len() > MAX_NAME || self.0.contains(&name) || (changed && turn == 0) {
            let hash = Sha256::digest(format!("{identity}\n{turn}"));
            let hash: String = hash.iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
            // ASCII only: every byte is a character.
            let start: String = fits.chars().take(MAX_NAME - HASH_DIGITS - 1).collect();
            name = format!("{start}_{hash}");
            turn += 1;
        }
        self.0.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_unique_and_stay() {
        let all = || {
            let mut taken = Taken::default();
            let long = "x".repeat(70);
            [
                ("get", "a"),
                ("get", "b"),
                ("get", "b"),
                ("d\u{435}l", "c"),
                ("", "d"),
                (&long, "e"),
                (&long, "f"),
                ("a.b", "g"),
                ("a_b", "h"),
            ]
            .map(|(wanted, identity)| taken.give(wanted, identity))
        };
        let names = all();
        assert_eq!(names, all());
        assert_eq!((names[0].as_str(), names[8].as_str()), ("get", "a_b"));
        assert!(names[1].starts_with("get_") && names[3].starts_with("d_l_"), "{names:?}");
        let unique: HashSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for name in &names {
            assert!(
                (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            );
        }
    }
}
