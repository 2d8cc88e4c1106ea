//! Texts for people: our words, and what a cluster says, kept apart. A cluster's text can hold secrets, so it is not shown,
//! printed or logged before it has been looked through. Pure.

use std::fmt;

use cofferdam_contract::text::is_invisible;

/// Characters of one piece of a cluster's text that are passed on.
const MAX_SHOWN: usize = 600;
/// A longer piece is not shown at all: cut before it is redacted, it could show a part of a secret.
const MAX_PIECE_BYTES: usize = 256 << 10;
/// Stands for a cluster's text that nobody has looked through.
const NOT_SHOWN: &str = "[not shown]";

/// A text for people: our words, and what the cluster says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Words {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Ours(String),
    /// As it came: a value is found only while its spaces are its own, and whole.
    Theirs(String),
}

impl Words {
    /// Our own words. They hold no secret.
    pub fn ours(text: impl Into<String>) -> Self {
        Self::default().and(text)
    }

    /// Adds words of ours.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.pieces.push(Piece::Ours(text.into()));
        self
    }

    /// Adds a word of the cluster's, such as a node's name.
    #[must_use]
    pub fn theirs(mut self, text: &str) -> Self {
        self.pieces.push(match text.len() {
            0..=MAX_PIECE_BYTES => Piece::Theirs(text.to_owned()),
            bytes => Piece::Ours(format!("[{bytes} bytes, too many to show]")),
        });
        self
    }

    /// Adds what the cluster says, after words of ours such as `The node says:`. Adds nothing if it says nothing.
    #[must_use]
    pub fn saying(self, introduction: &str, theirs: &str) -> Self {
        if theirs.trim().is_empty() {
            return self;
        }
        self.and(format!("{introduction} ")).theirs(theirs)
    }

    /// Puts words of ours before.
    #[must_use]
    pub fn after(mut self, before: &str) -> Self {
        self.pieces.insert(0, Piece::Ours(before.to_owned()));
        self
    }

    /// Returns true if the cluster says a part of it.
    pub fn has_foreign_part(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Theirs(_)))
    }

    /// The whole text, on one line. `scrub` takes secrets out of what the cluster says.
    pub fn shown(&self, scrub: impl Fn(&str) -> String) -> String {
        let shown = |piece: &Piece| match piece {
            Piece::Ours(text) => text.clone(),
            // Twice: a value may be there as it is, or only once the text is on one line.
            Piece::Theirs(text) => cut(scrub(&flat(&scrub(text)))),
        };
        self.pieces.iter().map(shown).collect()
    }

    /// The text with what the cluster says changed by `scrub`, which takes the secrets out that the caller knows. Others
    /// still have to look through it for those that they know.
    #[must_use]
    pub(crate) fn scrubbed(self, scrub: impl Fn(&str) -> String) -> Self {
        let scrubbed = |piece| match piece {
            Piece::Theirs(text) => Piece::Theirs(scrub(&text)),
            ours => ours,
        };
        Self { pieces: self.pieces.into_iter().map(scrubbed).collect() }
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::ours(text)
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::ours(text)
    }
}

/// Without what the cluster says.
impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(|_| NOT_SHOWN.to_owned()))
    }
}

/// Without what the cluster says.
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Puts foreign text on one line, bounded in length.
pub(crate) fn clean(text: &str) -> String {
    cut(flat(text))
}

/// The text on one line. A character that only changes how its neighbours look is marked: taken out, it could leave a secret
/// that nobody has found.
fn flat(text: &str) -> String {
    let visible = |c: char| match c {
        c if c.is_control() => ' ',
        c if is_invisible(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(visible).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Keeps the beginning and the end of a long text, because an API server says the reason after it has quoted the object.
fn cut(text: String) -> String {
    let count = text.chars().count();
    if count <= MAX_SHOWN {
        return text;
    }
    let half = MAX_SHOWN / 2;
    let (begin, end) = (text.chars().take(half), text.chars().skip(count - half));
    begin.chain(" ... ".chars()).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_cluster_is_printed_before_it_was_looked_through() {
        let words =
            Words::ours("The node ").theirs("n-hush").and(" is gone").saying(". It says:", "hush").after("So: ");
        assert!(words.has_foreign_part());
        for text in [words.to_string(), format!("{words:?}"), format!("{:?}", Some(&words))] {
            assert!(text.contains("So: The node [not shown] is gone. It says: [not shown]"), "{text}");
        }
        let shown = words.shown(|said| said.replace("hush", "***"));
        assert_eq!(shown, "So: The node n-*** is gone. It says: ***");
        assert_eq!(words.scrubbed(|_| "x".to_owned()).shown(str::to_owned), "So: The node x is gone. It says: x");
        assert_eq!(Words::ours("a").saying(":", " \n"), Words::ours("a"));
    }

    #[test]
    fn foreign_text_is_looked_through_as_it_came_and_shown_on_one_bounded_line() {
        let words = Words::ours("").theirs("a  b\tc\r\n\u{1b}[1m\u{202e}d\u{200b}");
        assert_eq!(words.shown(|said| said.replace("b\tc", "*")), "a * [1m\u{fffd}d\u{fffd}");
        let words = Words::ours("").theirs("two  words");
        assert_eq!(words.shown(|said| said.replace("two words", "*")), "*", "as it is shown, too");
        let long = format!("begin{}end", "x".repeat(10_000));
        let shown = Words::ours("").theirs(&long).shown(str::to_owned);
        assert!(
            shown.starts_with("begin") && shown.ends_with("end") && shown.len() <= MAX_SHOWN + 5,
            "{}",
            shown.len()
        );
        let shown = Words::ours("").theirs(&"x".repeat(MAX_PIECE_BYTES + 1)).shown(|_| panic!("not kept"));
        assert!(shown.contains("262145 bytes"), "{shown}");
    }
}
