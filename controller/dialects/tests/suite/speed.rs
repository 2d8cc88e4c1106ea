//! The time of a translated event. The bound is far above what any machine needs.

use std::time::{Duration, Instant};

use cofferdam_dialects::{Dialect, Request, StreamTranslator, sse};

/// Most time that an event may take.
const MAX_EVENT_TIME: Duration = Duration::from_micros(50);
const EVENTS: u32 = 20_000;

#[test]
fn an_event_takes_microseconds() {
    let request = Request::read(Dialect::Chat, br#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#).unwrap();
    let responses = Request::read(Dialect::Responses, br#"{"model":"m","input":"x"}"#).unwrap();
    let messages = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" some words\"}}\n\n";
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-x\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let chat = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" some words\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
    for (from, to, request, first, wire) in [
        (Dialect::Messages, Dialect::Chat, &request, start, messages),
        (Dialect::Messages, Dialect::Responses, &responses, start, messages),
        (Dialect::Chat, Dialect::Messages, &request, "", chat),
        (Dialect::Chat, Dialect::Responses, &responses, "", chat),
    ] {
        let mut translator = StreamTranslator::new(from, to, request, 1);
        let mut reader = sse::Reader::default();
        let mut out = Vec::new();
        reader.push(first.as_bytes(), |event| translator.event(event, &mut out)).unwrap();
        let began = Instant::now();
        for _ in 0..EVENTS {
            out.clear();
            reader.push(wire.as_bytes(), |event| translator.event(event, &mut out)).unwrap();
        }
        let each = began.elapsed() / EVENTS;
        assert!(!translator.is_over() && !out.is_empty());
        assert!(each < MAX_EVENT_TIME, "{} -> {}: {each:?} an event", from.name(), to.name());
        if std::env::var_os("COFFERDAM_SHOW_TIMES").is_some() {
            std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{} -> {}: {each:?}\n", from.name(), to.name()).as_bytes(),
            )
            .unwrap();
        }
    }
}
