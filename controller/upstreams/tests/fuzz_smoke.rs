//! Runs the fuzz target of Bedrock's event stream over mutations of good and odd frames, two seconds. Deterministic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../fuzz/eventstream.rs"]
mod eventstream;
#[path = "../../../fuzz/smoke.rs"]
mod smoke;

use std::time::{Duration, Instant};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use eventstream::eventstream;
use smoke::{Random, kept, write_seeds};

fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let header =
        |(name, value): &(&str, &str)| Header::new((*name).to_owned(), HeaderValue::String((*value).to_owned().into()));
    let message = Message::new_from_parts(headers.iter().map(header).collect(), payload.to_vec());
    let mut out = Vec::new();
    write_message_to(&message, &mut out).unwrap();
    out
}

fn chunk(event: &str) -> Vec<u8> {
    let payload = format!("{{\"bytes\":\"{}\",\"p\":\"abc\"}}", BASE64_STANDARD.encode(event));
    frame(&[(":event-type", "chunk"), (":message-type", "event")], payload.as_bytes())
}

const EVENTS: [&str; 5] = [
    r#"{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":1,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\u00f6 {}"}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
    r#"{"type":"message_stop"}"#,
];

fn seeds() -> Vec<Vec<u8>> {
    let good: Vec<u8> = EVENTS.iter().flat_map(|event| chunk(event)).collect();
    let exception =
        |kind: &str, payload: &[u8]| frame(&[(":exception-type", kind), (":message-type", "exception")], payload);
    let payloads: [&[u8]; 6] =
        [b"", b"{}", b"{\"bytes\":\"!\"}", b"{\"bytes\":null}", b"\xff", b"{\"bytes\":\"e30=\"}"];
    let mut streams = vec![good.clone()];
    for payload in payloads {
        streams.push([&good[..], &frame(&[(":event-type", "chunk"), (":message-type", "event")], payload)].concat());
        streams.push([&good[..], &exception("modelStreamErrorException", payload)].concat());
        streams.push(frame(&[(":event-type", "x")], payload));
        streams.push(frame(&[], payload));
    }
    streams.push(chunk("data: x\n\nevent: y"));
    streams.push(chunk("{\"type\":\"a\\nb\",\"x\":\n1}"));
    streams.push(0xffff_ffff_u32.to_be_bytes().to_vec());
    streams.iter().map(|stream| [&[5], &stream[..]].concat()).collect()
}

/// Changes the bytes, or what a well-formed frame holds.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if random.below(2) == 0 {
        let mut event = EVENTS[random.below(EVENTS.len())].as_bytes().to_vec();
        let at = random.below(event.len());
        event[at] ^= 1 << random.below(8);
        event.truncate(1 + random.below(event.len() * 2));
        bytes.extend(chunk(&String::from_utf8_lossy(&event)));
        return;
    }
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => bytes.splice(at..at, [0, 0, 0, 16]).for_each(drop),
            _ => {
                let to = (at + random.below(200)).min(bytes.len());
                let piece = bytes[at..to].repeat(1 + random.below(3));
                bytes.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn mutated_streams_neither_panic_nor_hang() {
    let mut seeds = seeds();
    write_seeds("eventstream", &seeds);
    seeds.extend(kept("eventstream"));
    seeds.iter().for_each(|seed| eventstream(seed));
    let mut random = Random(12);
    let end = Instant::now() + Duration::from_secs(2);
    let mut runs = 0;
    while Instant::now() < end {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        mutate(&mut bytes, &mut random);
        eventstream(&bytes);
        runs += 1;
    }
    assert!(runs > 100, "{runs}");
}
