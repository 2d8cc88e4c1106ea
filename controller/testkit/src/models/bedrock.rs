//! Anthropic's messages on Bedrock: the same events, each in a frame of AWS's event stream.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine;
use bytes::Bytes;
use serde_json::json;

fn frame(headers: &[(&'static str, &'static str)], payload: Bytes) -> Bytes {
    let text = |value: &'static str| HeaderValue::String(value.into());
    let headers = headers.iter().map(|(name, value)| Header::new(*name, text(value))).collect();
    let mut out = Vec::new();
    write_message_to(&Message::new_from_parts(headers, payload), &mut out).unwrap();
    out.into()
}

/// A frame for each server-sent event.
pub(super) fn frames(events: &[Bytes]) -> Vec<Bytes> {
    let data = |event: &Bytes| {
        let text = String::from_utf8_lossy(event).into_owned();
        Some(text.lines().find_map(|line| line.strip_prefix("data: "))?.to_owned())
    };
    let encode = |data: String| {
        let bytes = base64::engine::general_purpose::STANDARD.encode(data);
        let payload = json!({"bytes": bytes, "p": "abcdefgh"}).to_string();
        let headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
        frame(&headers, payload.into())
    };
    events.iter().filter_map(data).map(encode).collect()
}

/// An exception in the middle of a stream.
pub(super) fn exception() -> Bytes {
    let headers = [
        (":exception-type", "modelStreamErrorException"),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    frame(
        &headers,
        Bytes::from_static(b"{\"message\":\"The model produced invalid output.\",\"originalStatusCode\":500}"),
    )
}
