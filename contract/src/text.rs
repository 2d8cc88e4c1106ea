//! Characters that change how a text looks without being seen. Pure.

/// Returns true for a character that is not seen, or that reorders its neighbours: a name with one looks like another name.
/// Control characters, which have a name of their own, are not among them.
pub fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        // Soft hyphen, grapheme joiner, and the format characters of Arabic, Syriac, Khmer and Mongolian.
        0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x17b4..=0x17b5 | 0x180b..=0x180f
        // Spaces without width, marks and overrides of direction, separators of lines, invisible operators.
        | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
        // Fillers that look like nothing, variation selectors, the byte order mark, annotations of lines.
        | 0x115f..=0x1160 | 0x2800 | 0x3164 | 0xffa0 | 0xfe00..=0xfe0f | 0xfeff | 0xfff9..=0xfffb
        // Format characters of other scripts and of music; tags, and more variation selectors.
        | 0x110bd | 0x110cd | 0x13430..=0x1345f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_told_from_text() {
        for hidden in
            "\u{ad}\u{200b}\u{200d}\u{200e}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{e0041}\u{3164}\u{2028}".chars()
        {
            assert!(is_invisible(hidden), "{hidden:?}");
        }
        assert!(!"aZ09-_./ \u{e4}\u{df}\u{5d0}\u{627}\u{4e2d}\u{1f600}\n\u{2010}".chars().any(is_invisible));
    }
}
