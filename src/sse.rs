//! Reads server-sent events out of bytes that come in any pieces (WHATWG HTML, 9.2, as far as our servers use it).

use anyhow::{Context, bail};

/// The longest event that is taken, in bytes.
const MAX_EVENT: usize = 256 << 20;

/// One event: a field that was not sent is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    pub id: String,
    pub event: String,
    pub data: String,
}

#[derive(Default)]
pub struct Frames {
    pending: Vec<u8>,
    /// Where the search for the next block's end goes on.
    searched: usize,
}

impl Frames {
    /// Takes a piece and gives the events that are now complete. Comments are left out.
    pub fn push(&mut self, piece: &[u8]) -> anyhow::Result<Vec<Frame>> {
        self.pending.extend_from_slice(piece);
        let mut frames = Vec::new();
        let mut begin = 0;
        loop {
            let from = self.searched.max(begin);
            let rest = self.pending.get(from..).unwrap_or_default();
            let Some(at) = rest.windows(2).position(|pair| pair == b"\n\n") else { break };
            let block = self.pending.get(begin..from + at).unwrap_or_default();
            frames.extend(read(block)?);
            begin = from + at + 2;
            self.searched = begin;
        }
        self.pending.drain(..begin);
        self.searched = self.pending.len().saturating_sub(1);
        if self.pending.len() > MAX_EVENT {
            bail!("an event of more than {MAX_EVENT} bytes");
        }
        Ok(frames)
    }
}

fn read(block: &[u8]) -> anyhow::Result<Option<Frame>> {
    let text = std::str::from_utf8(block).context("an event is not UTF-8")?;
    let mut frame = Frame::default();
    for line in text.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut frame.id),
            "event" => value.clone_into(&mut frame.event),
            "data" => {
                if !frame.data.is_empty() {
                    frame.data.push('\n');
                }
                frame.data.push_str(value);
            }
            _ => {}
        }
    }
    Ok((!frame.event.is_empty() || !frame.data.is_empty()).then_some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_however_they_are_cut() {
        let sent = b": hello\n\nid: 7\nevent: log\ndata: {\"a\":1}\n\nevent: end\ndata: x\ndata: y\n\n: beat\n\n";
        let frame = |id: &str, event: &str, data: &str| Frame { id: id.into(), event: event.into(), data: data.into() };
        for size in 1..=sent.len() {
            let mut frames = Frames::default();
            let got: Vec<Frame> = sent.chunks(size).flat_map(|piece| frames.push(piece).unwrap()).collect();
            assert_eq!(got, [frame("7", "log", "{\"a\":1}"), frame("", "end", "x\ny")], "pieces of {size}");
        }
    }
}
