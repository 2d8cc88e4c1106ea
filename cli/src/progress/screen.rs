//! Standard error's terminal, a little narrower than it is: a `^C` that is typed behind the line stays on it, and is erased
//! with it.

use std::io;

use console::Term;
use indicatif::TermLike;

const DEFAULT_WIDTH: u16 = 80;
/// `^C`, and the last column: some terminals wrap after it.
const MARGIN: u16 = 3;

#[derive(Debug)]
pub(super) struct Screen(Term);

impl Default for Screen {
    fn default() -> Self {
        Self(Term::stderr())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        // Asked each time: people resize their windows.
        let width = self.0.size_checked().map_or(DEFAULT_WIDTH, |(_, columns)| columns);
        width.saturating_sub(MARGIN).max(1)
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
