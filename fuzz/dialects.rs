//! The translation between the protocols of models, like `targets.rs`. The dialects crate has the smoke test.

use cofferdam_dialects::{
    Answer, Cutter, Dialect, Edit, Failure, Head, Kind, Request, Seen, StreamTranslator, Takes, Tap, Target,
    error_body, input_tokens, sse,
};
use serde_json::value::RawValue;

const REQUESTS: [&str; 3] = [
    r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true},
        "tools":[{"type":"custom","custom":{"name":"now"}}]}"#,
    r#"{"model":"m","input":"x","stream":true,"tools":[{"type":"custom","name":"now"}]}"#,
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"stream":true}"#,
];

/// A body of a request or an answer, or an upstream's stream. The first bytes choose which, the dialects, and the cuts.
pub(crate) fn dialects(bytes: &[u8]) {
    let Some((&[kind, from, to, size], body)) = bytes.split_first_chunk() else { return };
    let dialect = |byte: u8| Dialect::ALL[usize::from(byte) % 3];
    let (from, to) = (dialect(from), dialect(to));
    match kind % 3 {
        0 => request(from, to, body),
        1 => answer(from, to, body),
        _ => stream(from, to, usize::from(size) + 1, body),
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// Checks that what is written can be read, and that the edit changes only what it is told to.
fn request(from: Dialect, to: Dialect, body: &[u8]) {
    let _ = input_tokens(body);
    if let Ok(head) = Head::read(from, body) {
        assert_eq!(head.edited(&Edit::model(&head.model)), body, "nothing to change is no change");
        let edited = head.edited(&Edit { ask_usage: true, max_tokens: Some(9), ..Edit::model("other") });
        let again = Head::read(from, &edited).expect("an edited body is a body");
        let limit = head.max_tokens.map_or(9, |limit| limit.min(9));
        assert_eq!((again.model.as_str(), again.stream, again.max_tokens), ("other", head.stream, Some(limit)));
        assert!(again.include_usage || !again.stream);
        for bits in 0..16 {
            let takes =
                Takes { unsigned: bits & 1 > 0, extras: bits & 2 > 0, blocks: bits & 4 > 0, budgets: bits & 8 > 0 };
            let cut = head.edited(&Edit { takes: Some(takes), ..Edit::model(&head.model) });
            let again = Head::read(from, &cut).expect("a body with cuts is a body");
            assert_eq!(
                again.edited(&Edit { takes: Some(takes), ..Edit::model(&head.model) }),
                cut,
                "one cut is enough"
            );
        }
    }
    let Ok(request) = Request::read(from, body) else { return };
    let mut target = Target::new("upstream");
    target.thinking_blocks = body.len().is_multiple_of(2);
    target.budgets = body.len().is_multiple_of(3);
    target.extras = body.len().is_multiple_of(5);
    target.unsigned = body.len().is_multiple_of(7);
    let Ok(written) = request.write(to, &target) else { return };
    let again = Request::read(to, &written);
    let shown = || String::from_utf8_lossy(&written).into_owned();
    let again = again.unwrap_or_else(|refused| panic!("{refused}: {}", shown()));
    assert_eq!((again.stream, again.model.as_str()), (request.stream, "upstream"));
}

fn answer(from: Dialect, to: Dialect, body: &[u8]) {
    let failure = Failure::read(500, body);
    assert!(is_json(&error_body(to, failure.kind, failure.message.as_deref().unwrap_or_default(), None)));
    let _ = Seen::of(from, body);
    let Ok(answer) = Answer::read(from, body) else { return };
    let request = Request::read(to, for_dialect(to).as_bytes()).expect("a request");
    if let Ok(written) = answer.write(to, &request, 1) {
        let again = Answer::read(to, &written).expect("an answer that was written can be read");
        assert_eq!(again.model, answer.model);
        assert_eq!(again.usage.unwrap_or_default().output, answer.usage.unwrap_or_default().output);
    }
}

fn for_dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => REQUESTS[0],
        Dialect::Responses => REQUESTS[1],
        Dialect::Messages => REQUESTS[2],
    }
}

fn translate<'a>(from: Dialect, to: Dialect, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Seen) {
    let request = Request::read(to, for_dialect(to).as_bytes()).expect("a request");
    let mut translator = StreamTranslator::new(from, to, &request, 1);
    let mut reader = sse::Reader::new(1 << 16);
    let mut tap = Tap::new(from);
    let mut out = Vec::new();
    for piece in pieces {
        tap.push(piece);
        if let Err(broken) = reader.push(piece, |event| translator.event(event, &mut out)) {
            translator.broken(broken, &mut out);
        }
    }
    translator.end(&mut out);
    assert!(translator.is_over());
    translator.fail(Kind::Timeout, "late", &mut out);
    (out, tap.seen().clone())
}

/// Checks that a stream that is passed on keeps its bytes, and that its pieces are text and end with an event.
fn pass(size: usize, wire: &[u8]) {
    let mut whole = Cutter::new(false);
    let mut stripped = Cutter::new(true);
    let mut out = Vec::new();
    for piece in wire.chunks(size) {
        let piece = bytes::Bytes::copy_from_slice(piece);
        let _ = stripped.push(piece.clone());
        let Ok(passed) = whole.push(piece) else { return };
        assert!(std::str::from_utf8(&passed).is_ok());
        assert!(passed.last().is_none_or(|byte| matches!(byte, b'\n' | b'\r')));
        out.extend_from_slice(&passed);
    }
    let _ = stripped.finish();
    let Ok(rest) = whole.finish() else { return };
    out.extend_from_slice(&rest);
    assert_eq!(out, wire);
}

/// Checks that the same comes out, and is seen, however the stream is cut: events with JSON, and one end.
fn stream(from: Dialect, to: Dialect, size: usize, wire: &[u8]) {
    pass(size, wire);
    let (out, seen) = translate(from, to, [wire].into_iter());
    if wire.len() < 1 << 16 {
        let (pieces, seen_in_pieces) = translate(from, to, wire.chunks(size));
        assert_eq!(pieces, out, "in pieces of {size}");
        assert_eq!(seen_in_pieces, seen, "in pieces of {size}");
        let (first, rest) = wire.split_at((size * size).min(wire.len()));
        assert_eq!(translate(from, to, [first, rest].into_iter()), (pieces, seen), "cut at {}", first.len());
    }
    let mut ends = 0;
    let mut reader = sse::Reader::default();
    reader
        .push(&out, |event| {
            assert!(event.is_done() || is_json(event.data.as_bytes()), "{event:?}");
            ends += usize::from(match to {
                Dialect::Chat => event.is_done() || event.data.starts_with("{\"error\""),
                Dialect::Messages => matches!(event.name, "message_stop" | "error"),
                Dialect::Responses => matches!(event.name, "response.completed" | "response.incomplete" | "error"),
            });
        })
        .expect("events");
    assert_eq!(ends, 1, "{}", String::from_utf8_lossy(&out));
}
