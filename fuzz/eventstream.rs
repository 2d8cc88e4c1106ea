//! Bedrock's event stream, like `targets.rs`. The upstreams crate has the smoke test.

use cofferdam_dialects::sse;
use cofferdam_upstreams::Decoder;
use serde_json::value::RawValue;

/// A stream. The first byte chooses the cuts.
pub(crate) fn eventstream(bytes: &[u8]) {
    let Some((size, wire)) = bytes.split_first() else { return };
    let decode = |size: usize| {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let ended = wire.chunks(size).try_for_each(|piece| decoder.push(piece, &mut out));
        (out, ended.and_then(|()| decoder.finish()))
    };
    let (out, ended) = decode(wire.len().max(1));
    assert_eq!(decode(usize::from(*size) + 1), (out.clone(), ended), "in pieces");
    let mut events = 0_usize;
    let mut reader = sse::Reader::default();
    reader
        .push(&out, |event| {
            events += 1;
            assert!(!event.name.is_empty() && serde_json::from_str::<&RawValue>(event.data).is_ok());
        })
        .expect("events are text");
    assert_eq!(out.windows(2).filter(|two| two == b"\n\n").count(), events, "every event ends once");
}
