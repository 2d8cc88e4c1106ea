//! Results as text for the model: bounded, so that no tool fills the window.

/// Characters of one tool's result that the model is shown.
const MAX_RESULT_CHARS: usize = 40_000;

/// The text, or its beginning and its end.
pub(crate) fn bounded(text: String) -> String {
    within(text, MAX_RESULT_CHARS)
}

pub(crate) fn within(text: String, most: usize) -> String {
    // Bytes are at least as many as characters.
    if text.len() <= most {
        return text;
    }
    let count = text.chars().count();
    if count <= most {
        return text;
    }
    let (head, tail) = (most / 4 * 3, most / 4);
    let start = text.char_indices().nth(head).map_or(text.len(), |(at, _)| at);
    let end = text.char_indices().nth(count - tail).map_or(text.len(), |(at, _)| at);
    let (start, end) = (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
    format!("{start}\n[... {} characters are left out ...]\n{end}", count - head - tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_ends() {
        assert_eq!(within("short".to_owned(), 8), "short");
        assert_eq!(within("\u{fc}".repeat(8), 8), "\u{fc}".repeat(8));
        let cut = within(format!("{}{}", "a".repeat(100), "z".repeat(100)), 40);
        assert!(cut.starts_with(&"a".repeat(30)) && cut.ends_with(&"z".repeat(10)), "{cut}");
        assert!(cut.contains("160 characters are left out"), "{cut}");
        assert!(bounded("\u{fc}".repeat(1_000_000)).chars().count() < MAX_RESULT_CHARS + 100);
    }
}
