//! Passes on a program's output to a terminal: its text, foreground colours, bold, dim, italic, underline. Everything else that a
//! terminal would obey is escaped, or left out if it is only another look: backgrounds, inverse, blinking and concealed text,
//! with which a text could be there and not be seen. A foreground of the terminal's own background's colour remains possible.

use cofferdam_text::Reader;

use super::escape::{escape, is_joiner};

/// The longest sequence of looks that is read.
const MAX_SEQUENCE_CHARS: usize = 64;
pub(super) const RESET: &str = "\u{1b}[0m";

/// Keeps its place between the pieces of a stream.
#[derive(Debug, Default)]
pub(crate) struct Colours {
    /// The beginning of a sequence.
    held: String,
    coloured: bool,
    /// Returns and ends of lines are passed on, too.
    stream: bool,
    reader: Reader,
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
            out.push_str(RESET);
        }
        out
    }

    /// The output so far may have changed the terminal's looks.
    pub(super) fn is_coloured(&self) -> bool {
        self.coloured
    }

    fn take(&mut self, c: char, out: &mut String) {
        if self.goes_on(c) {
            self.held.push(c);
        } else if self.held.len() > 1 && c == 'm' {
            let held = std::mem::take(&mut self.held);
            if let Some(sequence) = looks(held.get(2..).unwrap_or_default()) {
                out.push_str(&sequence);
                self.coloured = true;
            }
        } else if !self.held.is_empty() {
            self.give_up(out);
            self.take(c, out);
        } else {
            let shown = self.reader.shows(c);
            if shown || c == '\t' || is_joiner(c) || (self.stream && matches!(c, '\n' | '\r')) {
                out.push(c);
            } else {
                escape(c, out);
            }
        }
    }

    /// The character begins a sequence or continues the one that is held.
    fn goes_on(&self, c: char) -> bool {
        match self.held.len() {
            0 => c == '\u{1b}',
            1 => c == '[',
            held => held < MAX_SEQUENCE_CHARS && (c.is_ascii_digit() || matches!(c, ';' | ':')),
        }
    }

    /// The sequence is none of looks.
    fn give_up(&mut self, out: &mut String) {
        for c in std::mem::take(&mut self.held).chars() {
            if c == '\u{1b}' { escape(c, out) } else { out.push(c) }
        }
    }
}

/// The sequence with those of its looks that are passed on. `None` if it has none of them.
fn looks(parameters: &str) -> Option<String> {
    let mut all = parameters.split(';');
    let mut passed: Vec<String> = Vec::new();
    while let Some(one) = all.next() {
        match one.parse::<u8>() {
            Ok(0..=4 | 22..=24 | 30..=37 | 39 | 90..=97) => passed.push(one.to_owned()),
            _ if one.is_empty() => passed.push("0".to_owned()),
            Ok(look @ (38 | 48 | 58)) => {
                // The colour follows. One that is not whole makes the rest doubtful.
                let kind = all.next();
                let count = match kind {
                    Some("5") => 1,
                    Some("2") => 3,
                    _ => break,
                };
                let numbers: Vec<&str> = all.by_ref().take(count).collect();
                if numbers.len() < count || numbers.iter().any(|number| number.parse::<u8>().is_err()) {
                    break;
                }
                if look == 38 {
                    passed.push(format!("38;{};{}", kind.unwrap_or_default(), numbers.join(";")));
                }
            }
            _ => {}
        }
    }
    (!passed.is_empty()).then(|| format!("\u{1b}[{}m", passed.join(";")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_colours_and_nothing_else() {
        for (line, shown) in [
            ("\u{1b}[31;1mred\u{1b}[0m\tok", "\u{1b}[31;1mred\u{1b}[0m\tok\u{1b}[0m"),
            ("\u{1b}[38;5;8mgrey", "\u{1b}[38;5;8mgrey\u{1b}[0m"),
            ("\u{1b}[38;2;1;22;255mx\u{1b}[m", "\u{1b}[38;2;1;22;255mx\u{1b}[0m\u{1b}[0m"),
            // Text that is there and not seen, and looks that nobody needs.
            ("\u{1b}[8mhid", "hid"),
            ("\u{1b}[5;6;7;9;11;25;51mx", "x"),
            ("\u{1b}[31;41mx", "\u{1b}[31mx\u{1b}[0m"),
            ("\u{1b}[48;5;8;1mx", "\u{1b}[1mx\u{1b}[0m"),
            ("\u{1b}[48;2;1;2;8;4mx", "\u{1b}[4mx\u{1b}[0m"),
            ("\u{1b}[38;8mx\u{1b}[38;5;999mx\u{1b}[38;2;1;8mx\u{1b}[4:3mx", "xxxx"),
            ("\u{1b}[2J\u{1b}[H", "\\u{1b}[2J\\u{1b}[H"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{1b}]52;c;aGk=\u{1b}\\", "\\u{1b}]52;c;aGk=\\u{1b}\\"),
            ("\u{1b}[3\u{1b}[32mx", "\\u{1b}[3\u{1b}[32mx\u{1b}[0m"),
            ("50 %\r100 %\u{8}", "50 %\\r100 %\\u{8}"),
            ("👩\u{200d}🚀 \u{202e}x", "👩\u{200d}🚀 \\u{202e}x"),
            ("a\u{2800}b\u{e000}", "a\\u{2800}b\\u{e000}"),
            ("end\u{1b}[", "end\\u{1b}["),
        ] {
            assert_eq!(Colours::line(line), shown, "{line:?}");
        }
        let long = format!("\u{1b}[{}m", "1;".repeat(100));
        assert!(Colours::line(&long).starts_with("\\u{1b}["));
        let tower = Colours::line(&format!("a{}", "\u{301}".repeat(9)));
        assert_eq!(tower, format!("a{}{}", "\u{301}".repeat(4), "\\u{301}".repeat(5)));
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
