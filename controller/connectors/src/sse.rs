//! Server-sent events, read from pieces that end anywhere. Pure; bounded by the body's own bound.

use std::time::Duration;

/// The longest id of an event that is remembered.
const MAX_ID_BYTES: usize = 1_024;
/// The longest wait that a server may ask for.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Reads events.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Bytes of a line that has not ended.
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed belongs to it.
    after_return: bool,
    begun: bool,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    last_id: Option<String>,
    pub(crate) retry: Option<Duration>,
}

impl Reader {
    /// A reader of a stream that goes on after this event.
    pub(crate) fn after(id: &str, retry: Option<Duration>) -> Self {
        Self { last_id: Some(id.to_owned()), retry, ..Self::default() }
    }

    /// Takes in a piece; gives the events that it completes.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in piece {
            let after_return = std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if after_return => {}
                b'\n' => events.extend(self.end_line()),
                b'\r' => {
                    self.after_return = true;
                    events.extend(self.end_line());
                }
                _ => self.line.push(byte),
            }
        }
        events
    }

    /// The id of the last event that had one.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref().filter(|id| !id.is_empty())
    }

    fn end_line(&mut self) -> Option<Event> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            let event = Event {
                name: std::mem::take(&mut self.name),
                data: String::from_utf8_lossy(&std::mem::take(&mut self.data)).into_owned(),
            };
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(0) => return None,
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
            None => (line.as_slice(), &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if value.len() <= MAX_ID_BYTES && value.iter().all(|byte| (0x20..0x7f).contains(byte)) => {
                self.last_id = Some(String::from_utf8_lossy(value).into_owned());
            }
            b"retry" => {
                let ms = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                self.retry = ms.map(|ms| Duration::from_millis(ms).min(MAX_RETRY)).or(self.retry);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            b"\xef\xbb\xbf: hi\r\nid: 7\r\nretry: 99999999\ndata: a\ndata:b\r\n\r\nevent: x\rdata: c\r\rdata: lost";
        for size in 1..text.len() {
            let mut reader = Reader::default();
            let events: Vec<Event> = text.chunks(size).flat_map(|piece| reader.push(piece)).collect();
            let expected = [("", "a\nb"), ("x", "c")];
            let found: Vec<_> = events.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
            assert_eq!(found, expected, "{size}");
            assert_eq!((reader.last_id(), reader.retry), (Some("7"), Some(MAX_RETRY)));
        }
        let mut reader = Reader::default();
        assert!(reader.push(b"id: a\x01b\nid: \n\n").is_empty() && reader.last_id().is_none());
    }
}
