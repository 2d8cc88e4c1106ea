//! Standard input as the end of a pipe: what to say when the command before the pipe has failed.

use std::io::{IsTerminal, Read};

use anyhow::{Context, bail};

/// The sentence for standard input without a byte in it.
pub(crate) const EMPTY: &str =
    "standard input is empty: the command before the pipe wrote nothing. Its own error says why";

/// Reads the first bytes of an archive, at most `max`.
///
/// # Errors
/// There are none, or standard input is a terminal.
pub(crate) fn head(input: &mut impl Read, max: usize) -> anyhow::Result<Vec<u8>> {
    if std::io::stdin().is_terminal() {
        bail!("standard input is a terminal: pipe an archive into it, for example from `docker save`");
    }
    let mut head = Vec::new();
    input.take(max as u64).read_to_end(&mut head).context("standard input")?;
    if head.is_empty() {
        bail!("{EMPTY} (for `docker save`: is the image's name right, and does Docker run?)");
    }
    Ok(head)
}
