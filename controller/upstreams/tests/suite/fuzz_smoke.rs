//! Decodes event streams: good ones, bad ones, and mutations of both, a second. Deterministic, and needs no fuzzer.

use std::time::{Duration, Instant};

use cofferdam_upstreams::{BadFrame, Decoder, MAX_FRAME_BYTES};

use crate::eventstream::eventstream;
use crate::frames::{event, exception, frame};
use crate::smoke::{Random, kept, write_seeds};

fn decode(wire: &[u8], size: usize) -> (String, Result<(), BadFrame>) {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    let mut pieces = wire.chunks(size);
    let ended = pieces.try_for_each(|piece| decoder.push(piece, &mut out)).and_then(|()| decoder.finish());
    (String::from_utf8(out).unwrap(), ended)
}

#[test]
fn frames_become_events_however_they_are_cut() {
    let wire = [
        event("{\"type\":\"message_start\",\n\"message\":{}}"),
        frame(&[(":event-type", "later"), (":message-type", "event")], "anything"),
        event("{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\u{fc}\\n\"}}"),
        exception("throttlingException", "{\"message\":\"slow \\\"down\\\"\"}"),
    ]
    .concat();
    let expected = "event: message_start\ndata: {\"type\":\"message_start\", \"message\":{}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\u{fc}\\n\"}}\n\n\
        event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow \\\"down\\\"\"}}\n\n";
    for size in [1, 2, 7, 64, 1_000] {
        assert_eq!(decode(&wire, size), (expected.to_owned(), Ok(())), "{size}");
    }
}

#[test]
fn exceptions_have_kinds() {
    for (name, payload, kind) in [
        ("throttlingException", "{}", "rate_limit_error"),
        ("serviceUnavailableException", "", "overloaded_error"),
        ("modelTimeoutException", "{}", "timeout_error"),
        ("validationException", "[]", "invalid_request_error"),
        ("internalServerException", "{}", "api_error"),
        ("modelStreamErrorException", "{\"originalStatusCode\":529,\"originalMessage\":\"x\"}", "overloaded_error"),
    ] {
        let (out, ended) = decode(&exception(name, payload), 100);
        assert!(ended.is_ok() && out.contains(&format!("\"type\":\"{kind}\"")), "{name}: {out}");
    }
    let error = frame(&[(":message-type", "error"), (":error-code", "x"), (":error-message", "why")], "");
    assert!(decode(&error, 9).0.contains("\"message\":\"why\""));
}

#[test]
fn what_is_no_event_stream_ends_it_and_is_not_held() {
    let good = event("{\"type\":\"ping\"}");
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let huge = u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_be_bytes().to_vec();
    for (wire, why) in [
        (b"HTTP/1.1 500 Internal".to_vec(), BadFrame::Length),
        (huge, BadFrame::Length),
        (vec![0, 0, 0, 15, 0, 0, 0, 0], BadFrame::Length),
        (flipped, BadFrame::Malformed),
        (good[..good.len() - 1].to_vec(), BadFrame::Cut),
        (frame(&[(":message-type", "event"), (":event-type", "chunk")], "{}"), BadFrame::Payload),
        (frame(&[(":message-type", "event"), (":event-type", "chunk")], "{\"bytes\":\"%\"}"), BadFrame::Payload),
        (event("no json"), BadFrame::Payload),
        (event("{\"type\":\"a\\nb\"}"), BadFrame::Payload),
        (frame(&[], "x"), BadFrame::Malformed),
    ] {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        let ended = decoder.push(&wire, &mut out).and_then(|()| decoder.finish());
        assert_eq!((ended, out.len()), (Err(why), 0), "{wire:?}");
        if why != BadFrame::Cut {
            assert_eq!(decoder.push(&good, &mut out), Err(why));
        }
    }
    // One long frame does not make a long stream expensive.
    let mut decoder = Decoder::default();
    decoder.push(&event(&format!("{{\"type\":\"ping\",\"x\":\"{}\"}}", "y".repeat(1 << 20))), &mut Vec::new()).unwrap();
    assert!(decoder.held() <= 16 << 10, "{}", decoder.held());
}

#[test]
fn mutated_streams_neither_panic_nor_hang() {
    let mut seeds: Vec<Vec<u8>> = [
        [event("{\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}"), event("{\"type\":\"message_stop\"}")]
            .concat(),
        [event("{\"type\":\"ping\"}"), exception("modelStreamErrorException", "{\"originalStatusCode\":500}")].concat(),
        frame(&[(":message-type", "error"), (":error-code", "x"), (":error-message", "why")], ""),
    ]
    .into_iter()
    .map(|wire| [vec![3], wire].concat())
    .collect();
    write_seeds("eventstream", &seeds);
    seeds.extend(kept("eventstream"));
    seeds.iter().for_each(|seed| eventstream(seed));
    let (mut random, end, mut runs) = (Random(12), Instant::now() + Duration::from_secs(1), 0);
    while Instant::now() < end {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() + 1);
            match random.below(4) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, random.below(256) as u8),
                _ => {
                    let to = (at + random.below(200)).min(bytes.len());
                    let piece = bytes[at..to].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        eventstream(&bytes);
        runs += 1;
    }
    assert!(runs > 100, "{runs}");
}
