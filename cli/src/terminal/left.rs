//! Remembers how a program's output left the terminal, and puts it right before the next line of ours: colours end, and a line
//! that the program began is not continued. Knows only what went through [`super::Output`] to a terminal.

use std::io::{Write, stderr, stdout};

use parking_lot::Mutex;

use super::colours::RESET;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Left {
    coloured: bool,
    in_line: bool,
}

/// The states of standard output and of standard error.
#[derive(Debug, Default)]
struct Both([Left; 2]);

static LEFT: Mutex<Both> = Mutex::new(Both([Left { coloured: false, in_line: false }; 2]));

impl Both {
    fn note(&mut self, to_error: bool, coloured: bool, written: &str) {
        let Self([out, err]) = self;
        let (own, other) = if to_error { (err, out) } else { (out, err) };
        own.coloured = coloured;
        // Looks alone move nothing.
        if let Some(last) = written.trim_end_matches(RESET).chars().next_back() {
            own.in_line = last != '\n';
            // Both are most often the same terminal.
            other.in_line = false;
        }
    }

    /// The bytes that have to be written to each of them.
    fn settle(&mut self) -> [String; 2] {
        std::mem::take(&mut self.0).map(|left| {
            let (reset, end) = (if left.coloured { RESET } else { "" }, if left.in_line { "\n" } else { "" });
            format!("{reset}{end}")
        })
    }
}

/// A program's output was written to a terminal, and leaves it coloured or not.
pub(super) fn note(to_error: bool, coloured: bool, written: &str) {
    LEFT.lock().note(to_error, coloured, written);
}

/// Puts the terminal right before a line of ours. Does nothing if it is.
pub(crate) fn settle() {
    let [out, err] = LEFT.lock().settle();
    // A terminal that is gone is told by what is written next.
    if !out.is_empty() {
        let mut stdout = stdout().lock();
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }
    if !err.is_empty() {
        let _ = stderr().lock().write_all(err.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_lines_begin_with_a_reset_and_at_the_beginning() {
        let mut both = Both::default();
        both.note(false, true, "\u{1b}[31mred");
        assert_eq!(both.settle(), ["\u{1b}[0m\n".to_owned(), String::new()]);
        assert_eq!(both.settle(), [String::new(), String::new()]);
        both.note(false, false, "a");
        both.note(true, true, "b\n");
        assert_eq!(both.settle(), [String::new(), "\u{1b}[0m".to_owned()]);
        both.note(true, false, "b");
        both.note(true, false, "\u{1b}[0m");
        both.note(true, false, "");
        assert_eq!(both.settle(), [String::new(), "\n".to_owned()]);
    }
}
