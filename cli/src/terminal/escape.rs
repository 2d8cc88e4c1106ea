//! Makes text that others wrote safe to print: names of images, sentences of registries, events, lines of logs. Nothing of it
//! moves the cursor, reorders or hides other text, or begins a line of its own. Never used for JSON, which is exact.

use std::fmt::Write as _;

/// The longest colour sequence that is passed on.
const MAX_COLOUR_CHARS: usize = 32;

/// One line of text: what a terminal obeys or does not show is written as `\u{202e}` or `\n`.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\t' && (is_obeyed(c) || is_invisible(c)) { escape(c, &mut out) } else { out.push(c) }
    }
    out
}

/// Text of several lines, such as a traceback: every line but the first is indented, so that none looks like ours.
pub(crate) fn indented(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n  ")
}

fn escape(c: char, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        c => write!(out, "{}", c.escape_unicode()),
    };
}

/// Control characters, ends of lines in Unicode, and what reorders the text around it.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}')
}

/// Characters without a shape of their own, with which two texts look the same.
fn is_invisible(c: char) -> bool {
    is_joiner(c)
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        )
        || matches!(c, '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}')
        || matches!(c, '\u{fe00}'..='\u{fe0e}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Characters that Persian, Indian scripts and emoji need.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}')
}

/// Passes on the text and the colours of a program's output, and escapes everything else that a terminal would obey. Keeps
/// its place between the pieces of a stream.
#[derive(Debug, Default)]
pub(crate) struct Colours {
    /// The beginning of a sequence.
    held: String,
    coloured: bool,
    /// Returns and ends of lines are passed on, too.
    stream: bool,
}

impl Colours {
    /// For a stream of output, which has lines and may write one again.
    pub(crate) fn of_stream() -> Self {
        Self { stream: true, ..Self::default() }
    }

    /// A line of a log. Colours that it does not end are ended.
    pub(crate) fn line(text: &str) -> String {
        let mut colours = Self::default();
        let mut out = colours.pass(text);
        out.push_str(&colours.end());
        out
    }

    pub(crate) fn pass(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        text.chars().for_each(|c| self.take(c, &mut out));
        out
    }

    /// Returns the rest at the end of the output.
    pub(crate) fn end(&mut self) -> String {
        let mut out = String::new();
        self.give_up(&mut out);
        if std::mem::take(&mut self.coloured) {
            out.push_str("\u{1b}[0m");
        }
        out
    }

    fn take(&mut self, c: char, out: &mut String) {
        if self.goes_on(c) {
            self.held.push(c);
        } else if self.held.len() > 1 && c == 'm' {
            out.push_str(&std::mem::take(&mut self.held));
            out.push(c);
            self.coloured = true;
        } else if !self.held.is_empty() {
            self.give_up(out);
            self.take(c, out);
        } else if self.is_escaped(c) {
            escape(c, out);
        } else {
            out.push(c);
        }
    }

    /// The character begins a colour sequence or continues the one that is held.
    fn goes_on(&self, c: char) -> bool {
        match self.held.len() {
            0 => c == '\u{1b}',
            1 => c == '[',
            held => held < MAX_COLOUR_CHARS && (c.is_ascii_digit() || matches!(c, ';' | ':')),
        }
    }

    fn is_escaped(&self, c: char) -> bool {
        let passed = c == '\t' || is_joiner(c) || (self.stream && matches!(c, '\n' | '\r'));
        !passed && (is_obeyed(c) || is_invisible(c))
    }

    /// The sequence is no colour.
    fn give_up(&mut self, out: &mut String) {
        for c in std::mem::take(&mut self.held).chars() {
            if c == '\u{1b}' { escape(c, out) } else { out.push(c) }
        }
    }
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
            ("Grüße, שלום, 日本", "Grüße, שלום, 日本"),
        ] {
            assert_eq!(plain(foreign), shown);
        }
        for c in ('\0'..=char::MAX).filter(|c| is_obeyed(*c)) {
            let text = c.to_string();
            assert!(c == '\t' || plain(&text).starts_with('\\'), "{c:?}");
        }
        assert_eq!(indented("one\ncofferdam: two\u{1b}"), "one\n  cofferdam: two\\u{1b}");
    }

    #[test]
    fn a_log_keeps_its_colours_and_nothing_else() {
        for (line, shown) in [
            ("\u{1b}[31;1mred\u{1b}[0m\tok", "\u{1b}[31;1mred\u{1b}[0m\tok\u{1b}[0m"),
            ("\u{1b}[38;5;8mgrey", "\u{1b}[38;5;8mgrey\u{1b}[0m"),
            ("\u{1b}[2J\u{1b}[H", "\\u{1b}[2J\\u{1b}[H"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{1b}]52;c;aGk=\u{1b}\\", "\\u{1b}]52;c;aGk=\\u{1b}\\"),
            ("\u{1b}[3\u{1b}[32mx", "\\u{1b}[3\u{1b}[32mx\u{1b}[0m"),
            ("50 %\r100 %\u{8}", "50 %\\r100 %\\u{8}"),
            ("👩\u{200d}🚀 \u{202e}x", "👩\u{200d}🚀 \\u{202e}x"),
            ("end\u{1b}[", "end\\u{1b}["),
        ] {
            assert_eq!(Colours::line(line), shown, "{line:?}");
        }
        let long = format!("\u{1b}[{}m", "1;".repeat(100));
        assert!(Colours::line(&long).starts_with("\\u{1b}["));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let text = "a\u{1b}[31mb\r\n\u{1b}[2Kc\u{1b}]0;x\u{7}";
        for at in text.char_indices().map(|(at, _)| at) {
            let mut stream = Colours::of_stream();
            let (one, two) = text.split_at(at);
            let whole = stream.pass(one) + &stream.pass(two) + &stream.end();
            assert_eq!(whole, "a\u{1b}[31mb\r\n\\u{1b}[2Kc\\u{1b}]0;x\\u{7}\u{1b}[0m", "{at}");
        }
    }
}
