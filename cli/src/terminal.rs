//! Output to the terminal. The standard macros panic if standard output is closed; `say!` returns an error that ends
//! the command quietly. Text of others is made safe here, not where it is formatted; only a run's redirected output is
//! passed on as it is. All lines of ours begin with the terminal as we know it, whatever a program left.

mod colours;
mod escape;
mod left;

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

pub(crate) use colours::Colours;
pub(crate) use escape::{indented, json_line, json_text, plain};
pub(crate) use left::settle;

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
    print(&format!("{}\n", plain(&text.to_string())))
}

pub(crate) fn error_line(text: Arguments<'_>) {
    let _ = print_error(&format!("{}\n", plain(&text.to_string())));
}

/// Writes text of several lines to standard error.
pub(crate) fn error_lines(text: &str) {
    let _ = print_error(&format!("{}\n", indented(text)));
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
    settle();
    to_stream(text, false)
}

/// The same to standard error.
pub(crate) fn print_error(text: &str) -> anyhow::Result<()> {
    settle();
    to_stream(text, true)
}

fn to_stream(text: &str, to_error: bool) -> anyhow::Result<()> {
    match to_error {
        true => text_to(&mut std::io::stderr().lock(), text),
        false => text_to(&mut std::io::stdout().lock(), text),
    }
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
                left::note(self.to_error, colours.is_coloured(), &safe);
                to_stream(&safe, self.to_error)
            }
            None => to_stream(text, self.to_error),
        }
    }

    /// Ends colours that the program has not ended.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        match self.colours.as_mut().map(Colours::end) {
            Some(rest) if !rest.is_empty() => {
                left::note(self.to_error, false, &rest);
                to_stream(&rest, self.to_error)
            }
            _ => Ok(()),
        }
    }

    /// Writes a whole text, in no colours of another one, and ends its last line.
    pub(crate) fn whole(mut self, text: &str) -> anyhow::Result<()> {
        settle();
        self.write(text)?;
        self.end()?;
        if text.ends_with('\n') { Ok(()) } else { self.write("\n") }
    }
}

/// Writes a value as indented JSON to standard output. Characters that are not shown are escaped in it, which is as exact.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", json_text(&serde_json::to_string_pretty(value)?)))
}

fn text_to(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
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
        assert!(text_to(&mut Pipe, "a").unwrap_err().is::<Closed>());
    }
}
