//! Makes text that others wrote safe to print: names of images, sentences of registries, events, JSON. Nothing of it moves the
//! cursor, reorders or hides other text, or begins a line of its own. `cofferdam-text` says which characters are shown.

use std::fmt::Write as _;

use cofferdam_text::Reader;

/// One line of text: what a terminal obeys or does not show is written as `\u{202e}` or `\n`.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut reader = Reader::default();
    for c in text.chars() {
        if reader.shows(c) || c == '\t' { out.push(c) } else { escape(c, &mut out) }
    }
    out
}

/// Text of several lines, such as a traceback: every line but the first is indented, so that none looks like ours.
pub(crate) fn indented(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n  ")
}

/// JSON with `\u202e` for what a terminal would obey or not show. It stays exact: those characters are in strings only.
pub(crate) fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut reader = Reader::default();
    for c in text.chars() {
        if reader.shows(c) || c == '\n' {
            out.push(c);
        } else if matches!(c, '\t' | '\r') {
            // Between values: strings have none.
            out.push(' ');
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// The same for JSON of a server in one line.
pub(crate) fn json_line(text: &str) -> String {
    json_text(&text.replace('\n', " "))
}

pub(super) fn escape(c: char, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        c => write!(out, "{}", c.escape_unicode()),
    };
}

/// Characters that Persian, Indian scripts and emoji need.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_one_visible_line() {
        for (foreign, shown) in [
            ("a\tb\u{1b}[2Jc\r\u{9b}1m", "a\tb\\u{1b}[2Jc\\r\\u{9b}1m"),
            ("root\nports  1", "root\\nports  1"),
            ("abc\u{202e}fdp.exe", "abc\\u{202e}fdp.exe"),
            ("pr\u{200b}od\u{2066}x\u{2069}", "pr\\u{200b}od\\u{2066}x\\u{2069}"),
            ("a\u{2028}b\u{85}c\u{7f}d\u{feff}\u{e0041}", "a\\u{2028}b\\u{85}c\\u{7f}d\\u{feff}\\u{e0041}"),
            ("a\u{200d}b\u{ad}", "a\\u{200d}b\\u{ad}"),
            ("a\u{2800}\u{3164}\u{e000}\u{378}", "a\\u{2800}\\u{3164}\\u{e000}\\u{378}"),
            ("Grüße, שלום, 日本", "Grüße, שלום, 日本"),
        ] {
            assert_eq!(plain(foreign), shown);
        }
        assert_eq!(plain(&"\u{301}".repeat(5)), format!("{}\\u{{301}}", "\u{301}".repeat(4)));
        assert_eq!(indented("one\ncofferdam: two\u{1b}"), "one\n  cofferdam: two\\u{1b}");
    }

    #[test]
    fn json_is_exact_and_drives_no_terminal() {
        let hostile: String = ('\0'..=char::MAX).filter(|c| !cofferdam_text::is_shown(*c)).take(10_000).collect();
        let hostile = format!("{hostile}\u{e0041}\u{202e}\u{2028}{}ü\\\"", "\u{301}".repeat(99));
        let value = serde_json::json!({ &hostile: [hostile, 1.5, null] });
        let shown = json_text(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert!(shown.chars().all(|c| c == '\n' || cofferdam_text::is_shown(c)), "{shown}");
        assert!(json_text("\"\u{9b}\u{7f}\u{202e}\u{e0041}ü\"").eq("\"\\u009b\\u007f\\u202e\\udb40\\udc41ü\""));
        assert_eq!(json_line("{\"a\":\t1,\n\"b\": \"\u{1b}[2J\"}"), "{\"a\": 1, \"b\": \"\\u001b[2J\"}");
    }
}
