//! A run's events out of the bytes of their stream.

use anyhow::Context;
use cofferdam_contract::Event;

use crate::sse::{Frame, Frames};

#[derive(Default)]
pub struct Events(Frames);

impl Events {
    /// Takes a piece and gives the events that are now complete.
    pub fn push(&mut self, piece: &[u8]) -> anyhow::Result<Vec<Event>> {
        self.0.push(piece)?.iter().filter(|frame| !frame.event.is_empty() && !frame.data.is_empty()).map(read).collect()
    }
}

fn read(frame: &Frame) -> anyhow::Result<Event> {
    // `Event` is tagged by the event's name beside the data.
    let name = serde_json::to_string(&frame.event).context("an event's name")?;
    let json = format!(r#"{{"event":{name},"data":{}}}"#, frame.data);
    serde_json::from_str(&json).context("an event could not be read")
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
