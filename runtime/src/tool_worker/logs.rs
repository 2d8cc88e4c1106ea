//! A tool's stdout, stderr and log as one text. Kept up to a bound, and counted beyond it.

use std::sync::Arc;

use cofferdam_host_api::{OutputSink, Stdio, Stop};
use parking_lot::Mutex;

/// The most bytes to keep, whatever `limits.output_bytes` says, because they are part of every answer.
pub(super) const MAX_LOG_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Said {
    kept: Vec<u8>,
    lost: u64,
}

/// The output of a call. Clones share the text.
#[derive(Clone)]
pub(super) struct Logs {
    said: Arc<Mutex<Said>>,
    most: usize,
}

impl Logs {
    pub(super) fn new(output_bytes: u64) -> Self {
        Self { said: Arc::default(), most: usize::try_from(output_bytes).unwrap_or(MAX_LOG_BYTES).min(MAX_LOG_BYTES) }
    }

    /// The text. Invalid UTF-8 becomes replacement characters.
    pub(super) fn take(&self) -> String {
        let said = std::mem::take(&mut *self.said.lock());
        let mut text =
            String::from_utf8(said.kept).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        if said.lost > 0 {
            text.push_str(&format!("\n[{} more bytes were not kept]\n", said.lost));
        }
        text
    }
}

impl OutputSink for Logs {
    fn write(&mut self, _: Stdio, bytes: &[u8]) -> Result<(), Stop> {
        let mut said = self.said.lock();
        let room = self.most.saturating_sub(said.kept.len()).min(bytes.len());
        let (kept, lost) = bytes.split_at(room);
        said.kept.extend_from_slice(kept);
        said.lost = said.lost.saturating_add(lost.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted() {
        let mut logs = Logs::new(5);
        for part in [&b"abc"[..], b"def", b"\xff"] {
            logs.write(Stdio::Stderr, part).unwrap();
        }
        assert_eq!(logs.take(), "abcde\n[2 more bytes were not kept]\n");
        assert_eq!(logs.take(), "");
    }
}
