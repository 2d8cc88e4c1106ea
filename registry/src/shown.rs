//! Words in our messages: sizes, paths of an archive, a server's sentences. The only place that decides which characters of
//! a foreign text are shown as they are; `cofferdam-text` says which those are.

use cofferdam_text::Reader;

use crate::repeats::repeats;

/// Characters of a foreign text in a message.
const MAX_CHARS: usize = 200;

/// A path or another word, in backticks.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let quoted: String = text.chars().take(MAX_CHARS).fold(String::new(), |mut out, c| {
        out.extend(matches!(c, '\\' | '"' | '\'').then_some('\\'));
        out.push(c);
        out
    });
    let mut short = visible(&quoted);
    if text.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

/// A server's text as one short line. `None` if it is empty or repeats a secret in one of the usual forms.
pub(crate) fn sentence<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> Option<String> {
    // Searched before cutting: a cut-off part of a secret is still secret, and the search would miss it.
    if repeats(text, secrets) {
        return None;
    }
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short = visible(&words.chars().take(MAX_CHARS).collect::<String>());
    if words.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    (!short.is_empty()).then_some(short)
}

/// The text, with the numbers of characters that nobody would see.
fn visible(text: &str) -> String {
    let mut reader = Reader::default();
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            c if reader.shows(c) => out.push(c),
            '\t' | '\n' | '\r' => out.extend(c.escape_default()),
            c => out.extend(c.escape_unicode()),
        }
        out
    })
}

/// A size in the largest unit that divides it.
pub(crate) fn size(bytes: u64) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .iter()
        .find(|(shift, _)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_tamed() {
        let none = || std::iter::empty::<&str>();
        assert_eq!(sentence(" denied\r\n\x1b[31m now ", none()).as_deref(), Some("denied [31m now"));
        assert_eq!(sentence(&"x".repeat(10_000), none()).unwrap().chars().count(), 201);
        assert_eq!(sentence("", none()), None);
        assert_eq!(sentence("you sent hunter2!", ["hunter2"].into_iter()), None);
        assert_eq!(sentence("fine", ["", "hunter2"].into_iter()).as_deref(), Some("fine"));
        assert_eq!(sentence(r#"it's "so" \ ü 漢"#, none()).as_deref(), Some(r#"it's "so" \ ü 漢"#));
    }

    #[test]
    fn sizes_have_the_largest_unit_that_divides_them() {
        for (bytes, text) in
            [(0, "0 bytes"), (1_000, "1000 bytes"), (1 << 20, "1 MiB"), (3 << 30, "3 GiB"), (1_536, "1536 bytes")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    /// Bidirectional controls, zero-width characters, tags and private ones.
    #[test]
    fn nothing_hides_or_turns_a_text_around() {
        let hidden = "\u{202e}\u{2066}\u{200b}\u{200e}\u{feff}\u{ad}\u{2028}\u{e0041}\u{e000}\u{061c}\u{180e}\u{2800}\u{3164}\u{9b}\u{7f}\u{fe0f}";
        // An umlaut in two characters is one; a tower of marks is none.
        assert_eq!(shown("a\u{308}\n\"".as_bytes()), "`a\u{308}\\n\\\"`");
        assert!(shown(format!("a{}", "\u{301}".repeat(9)).as_bytes()).contains("\u{301}\\u{301}"));
        for c in hidden.chars() {
            for text in [shown(format!("a{c}b").as_bytes()), sentence(&format!("a{c}b"), std::iter::empty()).unwrap()] {
                assert!(!text.contains(c) && text.contains('a') && text.contains('b'), "{c:?}: {text:?}");
            }
        }
    }
}
