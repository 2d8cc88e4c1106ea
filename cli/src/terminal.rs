//! Output to the terminal. The standard macros panic if standard output is closed; `say!` returns an error that ends
//! the command quietly.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

/// A shell's exit status for a command that SIGPIPE ended.
const CLOSED: u8 = 141;

/// Standard output was closed by its reader.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct Closed;

/// Writes a line to standard output, without what would drive the terminal: servers decide on parts of it.
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::line(format_args!($($text)*)) };
}

/// Writes a line to standard error, if that is open, without what would drive the terminal.
macro_rules! note {
    ($($text:tt)*) => { $crate::terminal::error_line(format_args!($($text)*)) };
}

pub(crate) use {note, say};

pub(crate) fn line(text: Arguments<'_>) -> anyhow::Result<()> {
    text_to(&mut std::io::stdout().lock(), format_args!("{}\n", replaced(&text.to_string(), &['\t', '\n'])))
}

pub(crate) fn error_line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", replaced(&text.to_string(), &['\t', '\n']));
}

/// Writes text as it is to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    text_to(&mut std::io::stdout().lock(), format_args!("{text}"))
}

/// The same to standard error.
pub(crate) fn print_error(text: &str) -> anyhow::Result<()> {
    text_to(&mut std::io::stderr().lock(), format_args!("{text}"))
}

/// Writes a value as indented JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(format_args!("{}", serde_json::to_string_pretty(value)?))
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
    note!("cofferdam: {error:#}");
    ExitCode::from(status)
}

/// Replaces the characters that control a terminal, ends of lines too.
pub(crate) fn plain(text: &str) -> String {
    replaced(text, &['\t'])
}

fn replaced(text: &str, kept: &[char]) -> String {
    text.chars().map(|c| if c.is_control() && !kept.contains(&c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_wrote_does_not_drive_the_terminal() {
        assert_eq!(plain("a\tb\u{1b}[2Jc\r\u{9b}1m"), "a\tb\u{fffd}[2Jc\u{fffd}\u{fffd}1m");
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
