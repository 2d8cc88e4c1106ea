//! Cuts a stream that is passed on into whole events, so that an error event of ours never lands in the middle of one. Passes
//! bytes on unchanged, as soon as the event that they belong to is whole; holds at most one event.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::sse::{Broken, MAX_EVENT_BYTES};

/// Cuts one stream.
#[derive(Debug)]
pub struct Cutter {
    rest: BytesMut,
    max: usize,
    /// Leaves out the last chunk of Chat, which has usage and no choices: the caller did not ask for it.
    strip_usage: bool,
}

impl Cutter {
    /// A cutter of one stream. `strip_usage`: leaves out the chunk of Chat that only has usage.
    pub fn new(strip_usage: bool) -> Self {
        Self { rest: BytesMut::new(), max: MAX_EVENT_BYTES, strip_usage }
    }

    /// Takes a piece, and returns the whole events that there are now.
    pub fn push(&mut self, piece: Bytes) -> Result<Bytes, Broken> {
        let whole = match (self.rest.is_empty(), last_end(&piece)) {
            (true, Some(end)) => {
                let mut piece = piece;
                let rest = piece.split_off(end);
                self.rest.extend_from_slice(&rest);
                piece
            }
            (true, None) => {
                self.rest.extend_from_slice(&piece);
                Bytes::new()
            }
            (false, _) => {
                // An end may lie across the pieces.
                let from = self.rest.len().saturating_sub(3);
                self.rest.extend_from_slice(&piece);
                match last_end(self.rest.get(from..).unwrap_or_default()) {
                    Some(end) => self.rest.split_to(from + end).freeze(),
                    None => Bytes::new(),
                }
            }
        };
        if self.rest.len() > self.max {
            return Err(Broken::TooLong(self.max));
        }
        if self.rest.is_empty() {
            // What a long event took is not kept for a stream of short ones.
            self.rest = BytesMut::new();
        }
        if std::str::from_utf8(&whole).is_err() {
            return Err(Broken::NotUtf8);
        }
        Ok(if self.strip_usage { without_usage(whole) } else { whole })
    }

    /// Bytes that are held until their event is whole.
    pub fn held(&self) -> usize {
        self.rest.len()
    }

    /// The bytes after the last whole event, when the stream ends: some servers leave the last empty line away.
    pub fn finish(&mut self) -> Result<Bytes, Broken> {
        let rest = std::mem::take(&mut self.rest).freeze();
        if std::str::from_utf8(&rest).is_err() {
            return Err(Broken::NotUtf8);
        }
        Ok(if self.strip_usage { without_usage(rest) } else { rest })
    }
}

/// The place behind the last empty line.
fn last_end(bytes: &[u8]) -> Option<usize> {
    let ends: [&[u8]; 3] = [b"\n\n", b"\n\r\n", b"\r\r"];
    ends.iter().filter_map(|end| memmem::rfind(bytes, end).map(|at| at + end.len())).max()
}

/// The place behind the first empty line.
fn first_end(bytes: &[u8]) -> Option<usize> {
    let ends: [&[u8]; 3] = [b"\n\n", b"\n\r\n", b"\r\r"];
    ends.iter().filter_map(|end| memmem::find(bytes, end).map(|at| at + end.len())).min()
}

fn without_usage(events: Bytes) -> Bytes {
    let has = |bytes: &[u8], word: &str| memmem::find(bytes, word.as_bytes()).is_some();
    if !has(&events, "\"usage\"") {
        return events;
    }
    let mut kept = BytesMut::with_capacity(events.len());
    let mut rest: &[u8] = &events;
    while !rest.is_empty() {
        let (event, after) = rest.split_at(first_end(rest).unwrap_or(rest.len()));
        if !is_usage_chunk(event) {
            kept.extend_from_slice(event);
        }
        rest = after;
    }
    kept.freeze()
}

/// True for `data: {..., "choices": [], "usage": {...}}`.
fn is_usage_chunk(event: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Chunk<'a> {
        #[serde(borrow)]
        choices: Option<Vec<&'a serde_json::value::RawValue>>,
        usage: Option<serde::de::IgnoredAny>,
    }
    let Some(data) = std::str::from_utf8(event).ok().and_then(|text| text.trim().strip_prefix("data:")) else {
        return false;
    };
    let chunk = serde_json::from_str::<Chunk<'_>>(data.trim());
    chunk.is_ok_and(|chunk| chunk.usage.is_some() && chunk.choices.is_none_or(|choices| choices.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], size: usize, strip: bool) -> Vec<u8> {
        let mut cutter = Cutter::new(strip);
        let mut out = Vec::new();
        for piece in text.chunks(size) {
            let whole = cutter.push(Bytes::copy_from_slice(piece)).unwrap();
            assert!(whole.is_empty() || last_end(&whole) == Some(whole.len()), "{whole:?}");
            out.extend_from_slice(&whole);
        }
        out.extend_from_slice(&cutter.finish().unwrap());
        out
    }

    #[test]
    fn bytes_stay_and_events_are_whole() {
        for text in [
            "data: {}\n\ndata: x\n\n",
            "event: a\r\ndata: \u{e9}\r\n\r\n: c\r\n\r\ndata: y",
            "data: 1\r\rdata: 2\n\n\n\n",
            "",
        ] {
            for size in 1..=text.len().max(1) {
                assert_eq!(all(text.as_bytes(), size, false), text.as_bytes(), "{text:?} {size}");
            }
        }
    }

    #[test]
    fn the_chunk_that_only_has_usage_is_left_out() {
        let text = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n\
                    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n";
        for size in [1, 7, 60, 1_000] {
            let out = String::from_utf8(all(text.as_bytes(), size, true)).unwrap();
            assert!(
                !out.contains("prompt_tokens") && out.contains("delta") && out.ends_with("data: [DONE]\n\n"),
                "{out}"
            );
        }
    }

    #[test]
    fn what_is_too_long_or_no_text_is_broken() {
        let mut cutter = Cutter { max: 100, ..Cutter::new(false) };
        assert!(cutter.push(Bytes::from(vec![b'x'; 100])).is_ok());
        assert_eq!(cutter.push(Bytes::from_static(b"x")), Err(Broken::TooLong(100)));
        assert_eq!(Cutter::new(false).push(Bytes::from_static(b"data: \xff\n\n")), Err(Broken::NotUtf8));
    }
}
