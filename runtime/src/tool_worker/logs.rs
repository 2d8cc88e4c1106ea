//! What a tool says on stdout, stderr and its log, as one text: kept up to a bound, counted beyond it.

use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_host_api::{OutputSink, Stdio, Stop};

/// Kept at most, whatever `limits.output_bytes` says: it travels in every answer.
pub(super) const MOST: usize = 1 << 20;

#[derive(Default)]
struct Said {
    kept: Vec<u8>,
    lost: u64,
}

/// Where a call's output goes. Clones are the same text.
#[derive(Clone)]
pub(super) struct Logs {
    said: Arc<Mutex<Said>>,
    most: usize,
}

impl Logs {
    pub(super) fn new(output_bytes: u64) -> Self {
        Self { said: Arc::default(), most: usize::try_from(output_bytes).unwrap_or(MOST).min(MOST) }
    }

    /// The text. Bytes that are no UTF-8 become replacement characters.
    pub(super) fn take(&self) -> String {
        let said = std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner));
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
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
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
