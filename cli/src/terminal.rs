//! Output to the terminal. The standard macros panic if standard output is closed; `say!` returns an error that ends
//! the command quietly. Text of others is made safe here, not where it is formatted; only JSON and a run's redirected
//! output are exact.

mod escape;

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

pub(crate) use escape::{Colours, indented, plain};

/// A shell's exit status for a command that SIGPIPE ended.
const CLOSED: u8 = 141;

/// Standard output was closed by its reader.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct Closed;

/// Writes one line to standard output. Ends of lines and what would drive the terminal are shown as `\n` and `\u{1b}`:
/// servers decide on parts of it.
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::line(format_args!($($text)*)) };
}

/// Writes one line to standard error, if that is open, as `say!` does.
macro_rules! note {
    ($($text:tt)*) => { $crate::terminal::error_line(format_args!($($text)*)) };
}

pub(crate) use {note, say};

pub(crate) fn line(text: Arguments<'_>) -> anyhow::Result<()> {
    text_to(&mut std::io::stdout().lock(), format_args!("{}\n", plain(&text.to_string())))
}

pub(crate) fn error_line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", plain(&text.to_string()));
}

/// Writes text of several lines to standard error.
pub(crate) fn error_lines(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", indented(text));
}

/// A text of several lines, each of which is made safe as it is added.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

/// Adds a line to a [`Page`].
macro_rules! put {
    ($page:expr) => { $page.line(format_args!("")) };
    ($page:expr, $($text:tt)*) => { $page.line(format_args!($($text)*)) };
}

pub(crate) use put;

impl Page {
    pub(crate) fn line(&mut self, text: Arguments<'_>) {
        self.0.push_str(&plain(&text.to_string()));
        self.0.push('\n');
    }

    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        print(&self.0)
    }
}

/// Writes text as it is to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    text_to(&mut std::io::stdout().lock(), format_args!("{text}"))
}

/// The same to standard error.
pub(crate) fn print_error(text: &str) -> anyhow::Result<()> {
    text_to(&mut std::io::stderr().lock(), format_args!("{text}"))
}

/// A program's output on its way to standard output or standard error: exact in a file or a pipe; on a terminal it keeps
/// its text and colours.
#[derive(Debug)]
pub(crate) struct Output {
    to_error: bool,
    colours: Option<Colours>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self { to_error: false, colours: std::io::stdout().is_terminal().then(Colours::of_stream) }
    }

    pub(crate) fn stderr() -> Self {
        Self { to_error: true, colours: std::io::stderr().is_terminal().then(Colours::of_stream) }
    }

    pub(crate) fn write(&mut self, text: &str) -> anyhow::Result<()> {
        match &mut self.colours {
            Some(colours) => {
                let safe = colours.pass(text);
                self.send(&safe)
            }
            None => self.send(text),
        }
    }

    /// Ends colours that the program has not ended.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        match self.colours.as_mut().map(Colours::end) {
            Some(rest) if !rest.is_empty() => self.send(&rest),
            _ => Ok(()),
        }
    }

    /// Writes a whole text and ends its last line.
    pub(crate) fn whole(mut self, text: &str) -> anyhow::Result<()> {
        self.write(text)?;
        self.end()?;
        if text.ends_with('\n') { Ok(()) } else { self.send("\n") }
    }

    fn send(&self, text: &str) -> anyhow::Result<()> {
        if self.to_error { print_error(text) } else { print(text) }
    }
}

/// Writes a value as indented JSON to standard output, exactly.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn text_to(out: &mut impl Write, text: Arguments<'_>) -> anyhow::Result<()> {
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("writing the output"),
    }
}

/// Reports an error and returns `status`.
pub(crate) fn failed(error: &anyhow::Error, status: u8) -> ExitCode {
    if error.is::<Closed>() {
        return ExitCode::from(CLOSED);
    }
    complain(&format!("{error:#}"));
    ExitCode::from(status)
}

/// Writes the cause of a failure to standard error.
pub(crate) fn complain(text: &str) {
    error_lines(&format!("cofferdam: {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_page_begins_no_line() {
        let mut page = Page::default();
        put!(page, "user  {}", "root\nports  22");
        put!(page);
        assert_eq!(page.as_str(), "user  root\\nports  22\n\n");
    }

    #[test]
    fn a_closed_pipe_is_an_error_of_its_own() {
        struct Pipe;
        impl Write for Pipe {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        assert!(text_to(&mut Pipe, format_args!("a")).unwrap_err().is::<Closed>());
    }
}
