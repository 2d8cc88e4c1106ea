//! Amazon's event stream, decoded into server-sent events of Messages: bytes in pieces that end anywhere, text out. Pure, and
//! holds one frame at most.
//!
//! Frame: <https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html>; payload: Bedrock's
//! `InvokeModelWithResponseStream`, where `chunk` events carry one event of Messages in base64, and exceptions end the stream.

use std::borrow::Cow;

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, BytesMut};
use cofferdam_dialects::{Dialect, Kind, MAX_MESSAGE_BYTES, error_body, sse};
use serde::Deserialize;

/// The longest frame.
pub const MAX_FRAME_BYTES: usize = 16 << 20;
/// The shortest frame: prelude and two checksums.
const MIN_FRAME_BYTES: usize = 16;
/// Bytes that are held between frames, once a longer one was read.
const MAX_IDLE_BYTES: usize = 16 << 10;

/// A stream that is no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// A frame's length is impossible, or over [`MAX_FRAME_BYTES`].
    #[error("a frame of the event stream has an impossible length")]
    Length,
    /// A checksum or a header is wrong.
    #[error("a frame of the event stream is malformed")]
    Malformed,
    /// The payload is no event of Messages.
    #[error("a frame of the event stream has an unknown payload")]
    Payload,
    /// The stream ends in the middle of a frame.
    #[error("the event stream ends within a frame")]
    Cut,
}

/// Decodes one stream.
#[derive(Debug, Default)]
pub struct Decoder {
    held: BytesMut,
    broken: Option<BadFrame>,
}

impl Decoder {
    /// Decodes a piece, and writes what it completes to `out`. After an error the decoder stays broken.
    ///
    /// # Errors
    /// Bytes that are no event stream.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), BadFrame> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        self.held.extend_from_slice(piece);
        let result = self.frames(out);
        self.broken = result.err();
        if self.held.is_empty() && self.held.capacity() > MAX_IDLE_BYTES {
            self.held = BytesMut::new();
        }
        result
    }

    /// Checks that the stream ends between two frames.
    ///
    /// # Errors
    /// It does not.
    pub fn finish(&self) -> Result<(), BadFrame> {
        match self.broken {
            Some(broken) => Err(broken),
            None if self.held.is_empty() => Ok(()),
            None => Err(BadFrame::Cut),
        }
    }

    /// The bytes that it holds, for those who count memory.
    pub fn held(&self) -> usize {
        self.held.capacity()
    }

    fn frames(&mut self, out: &mut Vec<u8>) -> Result<(), BadFrame> {
        while let Some(length) = self.held.first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&length) {
                return Err(BadFrame::Length);
            }
            let Some(mut frame) = self.held.get(..length) else { return Ok(()) };
            let message = read_message_from(&mut frame).map_err(|_| BadFrame::Malformed)?;
            event(&message, out)?;
            self.held.advance(length);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exception<'a> {
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(default)]
    original_status_code: Option<u16>,
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let found = message.headers().iter().find(|header| header.name().as_str() == name)?;
    found.value().as_string().ok().map(|text| text.as_str())
}

fn event(message: &Message, out: &mut Vec<u8>) -> Result<(), BadFrame> {
    match header(message, ":message-type") {
        Some("event") if header(message, ":event-type") == Some("chunk") => chunk(message.payload(), out),
        // Later kinds of events say nothing that Messages has a word for.
        Some("event") => Ok(()),
        Some("exception") => {
            let name = header(message, ":exception-type").unwrap_or_default();
            let read: Option<Exception<'_>> = serde_json::from_slice(message.payload()).ok();
            let status = read.as_ref().and_then(|read| read.original_status_code);
            failure(kind(name, status), read.and_then(|read| read.message).as_deref(), out);
            Ok(())
        }
        Some("error") => {
            let code = header(message, ":error-code").unwrap_or_default();
            failure(kind(code, None), header(message, ":error-message"), out);
            Ok(())
        }
        _ => Err(BadFrame::Malformed),
    }
}

fn chunk(payload: &[u8], out: &mut Vec<u8>) -> Result<(), BadFrame> {
    let chunk: Chunk<'_> = serde_json::from_slice(payload).map_err(|_| BadFrame::Payload)?;
    let mut data = BASE64_STANDARD.decode(chunk.bytes.as_bytes()).map_err(|_| BadFrame::Payload)?;
    let text = std::str::from_utf8(&data).map_err(|_| BadFrame::Payload)?;
    let typed: Typed<'_> = serde_json::from_str(text).map_err(|_| BadFrame::Payload)?;
    if !typed.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') || typed.name.is_empty() {
        return Err(BadFrame::Payload);
    }
    let name = typed.name.into_owned();
    // JSON has these outside of texts only, where a space is as good.
    data.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    sse::write(out, &name, &data);
    Ok(())
}

fn failure(kind: Kind, message: Option<&str>, out: &mut Vec<u8>) {
    let message = message.filter(|message| !message.is_empty()).unwrap_or("The upstream's stream ended with an error.");
    let mut end = message.len().min(MAX_MESSAGE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let body = error_body(Dialect::Messages, kind, message.get(..end).unwrap_or_default(), None);
    sse::write(out, "error", &body);
}

/// The kind of an exception of Bedrock's.
pub(crate) fn kind(name: &str, status: Option<u16>) -> Kind {
    match name.to_ascii_lowercase().trim_end_matches("exception") {
        "throttling" | "modelnotready" => Kind::RateLimit,
        "servicequotaexceeded" => Kind::Quota,
        "serviceunavailable" => Kind::Overloaded,
        "modeltimeout" => Kind::Timeout,
        "validation" => Kind::Invalid,
        "accessdenied" => Kind::Permission,
        "resourcenotfound" => Kind::NotFound,
        _ => status.map_or(Kind::Api, Kind::of_status),
    }
}
