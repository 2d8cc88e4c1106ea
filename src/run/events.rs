//! Reads server-sent events out of bytes that come in any pieces (WHATWG HTML, 9.2, as far as runs use it).

use anyhow::{Context, bail};
use cofferdam_contract::Event;

/// The longest event that is taken, in bytes.
const MAX_EVENT: usize = 256 << 20;

#[derive(Default)]
pub struct Events {
    pending: Vec<u8>,
    /// Where the search for the next block's end goes on.
    searched: usize,
}

impl Events {
    /// Takes a piece and gives the events that are now complete.
    pub fn push(&mut self, piece: &[u8]) -> anyhow::Result<Vec<Event>> {
        self.pending.extend_from_slice(piece);
        let mut events = Vec::new();
        let mut begin = 0;
        loop {
            let from = self.searched.max(begin);
            let rest = self.pending.get(from..).unwrap_or_default();
            let Some(at) = rest.windows(2).position(|pair| pair == b"\n\n") else { break };
            let block = self.pending.get(begin..from + at).unwrap_or_default();
            events.extend(read(block)?);
            begin = from + at + 2;
            self.searched = begin;
        }
        self.pending.drain(..begin);
        self.searched = self.pending.len().saturating_sub(1);
        if self.pending.len() > MAX_EVENT {
            bail!("an event of more than {MAX_EVENT} bytes");
        }
        Ok(events)
    }
}

fn read(block: &[u8]) -> anyhow::Result<Option<Event>> {
    let text = std::str::from_utf8(block).context("an event is not UTF-8")?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    let (Some(name), Some(data)) = (field("event:"), field("data:")) else { return Ok(None) };
    // `Event` is tagged by the event's name beside the data.
    let name = serde_json::to_string(name).context("an event's name")?;
    let json = format!(r#"{{"event":{name},"data":{data}}}"#);
    Ok(Some(serde_json::from_str(&json).context("an event could not be read")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_contract::run::{RunError, TextChunk};

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let sent = [
            Event::Stdout(TextChunk { text: "a\n\nä".into() }),
            Event::Stderr(TextChunk { text: String::new() }),
            Event::Error(RunError { name: "E".into(), message: "m".into(), traceback: "t".into() }),
        ];
        let bytes: Vec<u8> = sent.iter().map(Event::to_sse).collect::<String>().into_bytes();
        for size in 1..=bytes.len() {
            let mut events = Events::default();
            let got: Vec<Event> = bytes.chunks(size).flat_map(|piece| events.push(piece).unwrap()).collect();
            assert_eq!(got, sent, "pieces of {size}");
        }
        assert!(Events::default().push(b": comment\n\n").unwrap().is_empty());
        assert!(Events::default().push(b"event: stdout\ndata: {\n\n").is_err());
    }
}
