//! Decides which characters of a foreign text may be shown as they are: the one decision for terminals, messages, JSON on a
//! terminal, and names that are refused. Never changes a text, and knows nothing of who shows it.

use unicode_properties::{GeneralCategory as Category, GeneralCategoryGroup as Group, UnicodeGeneralCategory};

/// The combining marks that may follow each other. More of them climb over the lines above.
pub const MAX_MARKS: u32 = 4;

/// Returns true for a character with a look of its own. False for control and format characters, separators of lines, those
/// without a meaning that everybody shares (private, unassigned), and those that look like nothing.
pub fn is_shown(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !matches!(
        c.general_category(),
        Category::Control
            | Category::Format
            | Category::PrivateUse
            | Category::Unassigned
            | Category::Surrogate
            | Category::LineSeparator
            | Category::ParagraphSeparator
    ) && !looks_like_nothing(c)
}

/// Returns true for a character that is not seen, or that reorders its neighbours: a name with one looks like another name.
/// Control characters, which have a name of their own, are not among them.
pub fn is_invisible(c: char) -> bool {
    !is_shown(c) && !c.is_control()
}

/// Letters, symbols and marks that draw nothing: fillers of Hangul, the empty Braille pattern, selectors of variants.
fn looks_like_nothing(c: char) -> bool {
    matches!(u32::from(c),
        0x34f | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x2800 | 0x3164 | 0xfe00..=0xfe0f | 0xffa0
        | 0x16fe4 | 0x1d159 | 0xe0100..=0xe01ef)
}

/// Decides a text's characters one after the other, because marks are counted.
#[derive(Debug, Default, Clone)]
pub struct Reader {
    marks: u32,
}

impl Reader {
    /// Returns true if the next character may be shown as it is.
    pub fn shows(&mut self, c: char) -> bool {
        let mark = !c.is_ascii() && c.general_category_group() == Group::Mark;
        self.marks = if mark { self.marks.saturating_add(1) } else { 0 };
        self.marks <= MAX_MARKS && is_shown(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_what_is_not_seen() {
        for c in "aZ09-_./ ~äß\u{5d0}\u{627}中😀\u{2010}\u{a0}\u{3000}é\u{301}€–".chars() {
            assert!(is_shown(c) && !is_invisible(c), "{c:?}");
        }
        let hidden = "\u{ad}\u{34f}\u{600}\u{61c}\u{70f}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{200b}\u{200d}\u{200e}\
                      \u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{2800}\u{3164}\u{e000}\u{fe0f}\u{feff}\
                      \u{ffa0}\u{fff9}\u{110bd}\u{13430}\u{1bca0}\u{1d159}\u{1d173}\u{e0001}\u{e0041}\u{e0100}\u{f0000}\
                      \u{10fffd}\u{378}\u{ffff}\u{2065}";
        for c in hidden.chars() {
            assert!(!is_shown(c) && is_invisible(c), "{c:?}");
        }
        for c in "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9b}".chars() {
            assert!(!is_shown(c) && !is_invisible(c), "{c:?}");
        }
    }

    #[test]
    fn marks_do_not_climb() {
        let count = |text: &str| {
            let mut reader = Reader::default();
            text.chars().filter(|c| reader.shows(*c)).count()
        };
        assert_eq!(count(&format!("a{}b", "\u{301}".repeat(50))), 6);
        assert_eq!(count("e\u{301}e\u{301}\u{323}e\u{301}\u{323}\u{330}\u{331}"), 10);
    }
}
