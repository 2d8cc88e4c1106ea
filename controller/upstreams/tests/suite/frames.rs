//! Frames of Amazon's event stream, as Bedrock writes them.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

pub(crate) fn frame(headers: &[(&'static str, &'static str)], payload: impl Into<Vec<u8>>) -> Vec<u8> {
    let headers = headers.iter().map(|(name, value)| Header::new(*name, HeaderValue::String((*value).into())));
    let mut out = Vec::new();
    write_message_to(&Message::new_from_parts(headers.collect(), payload.into()), &mut out).unwrap();
    out
}

pub(crate) fn event(event: &str) -> Vec<u8> {
    let payload = format!("{{\"bytes\":\"{}\",\"p\":\"abcdefgh\"}}", BASE64_STANDARD.encode(event));
    frame(&[(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")], payload)
}

pub(crate) fn exception(name: &'static str, payload: &str) -> Vec<u8> {
    frame(&[(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")], payload)
}
