//! Inputs of hostile callers and upstreams: deep, long and many things. Each has its bound, and its error.

use cofferdam_dialects::{Answer, Dialect, MAX_KEPT_BYTES, Request, StreamTranslator, Target, sse};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;

fn translator(from: Dialect, to: Dialect) -> StreamTranslator {
    let body = match to {
        Dialect::Chat => CHAT,
        Dialect::Responses => r#"{"model":"m","input":"x"}"#,
        Dialect::Messages => r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
    };
    StreamTranslator::new(from, to, &Request::read(to, body.as_bytes()).unwrap(), 1)
}

fn refusal(dialect: Dialect, body: &str) -> String {
    Request::read(dialect, body.as_bytes()).unwrap_err().to_string()
}

#[test]
fn deep_values_are_passed_or_refused_without_a_deep_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(
        r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"n","input":{{"a":{deep}}}}}]}}]}}"#
    );
    let request = Request::read(Dialect::Messages, body.as_bytes()).unwrap();
    for to in Dialect::ALL {
        let _ = request.write(to, &Target::new("m"));
    }
    assert!(refusal(Dialect::Chat, &deep).starts_with("body: "));
    let content = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{deep}}}]}}"#);
    assert!(refusal(Dialect::Chat, &content).starts_with("messages[0].content[0]"));
}

#[test]
fn lists_and_objects_are_bounded() {
    let items = vec!["0"; 70_000].join(",");
    assert_eq!(
        refusal(Dialect::Chat, &format!(r#"{{"model":"m","messages":[{items}]}}"#)),
        "messages: has too many items"
    );
    let fields: Vec<String> = (0..2_000).map(|number| format!(r#""f{number}":1"#)).collect();
    assert_eq!(refusal(Dialect::Chat, &format!("{{{}}}", fields.join(","))), "body: has too many fields");
    // Of many unknown fields some are named.
    let refused = refusal(Dialect::Chat, &format!(r#"{{"model":"m","messages":[],{}}}"#, fields[..900].join(",")));
    assert!(refused.starts_with("f0, f1, ") && refused.len() < 200, "{refused}");
}

#[test]
fn blocks_are_bounded() {
    for to in [Dialect::Messages, Dialect::Responses] {
        let mut translator = translator(Dialect::Chat, to);
        let mut out = Vec::new();
        for number in 0..5_000 {
            let data = format!(
                r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":{number},"id":"c{number}","function":{{"name":"n","arguments":"{{"}}}}]}}}}]}}"#
            );
            translator.event(sse::Event { name: "", data: &data }, &mut out);
        }
        assert!(translator.is_over() && translator.failure().is_some(), "{to:?}");
        assert!(out.len() < 2 << 20, "{}", out.len());
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let piece = "x".repeat(1 << 20);
    let call = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"n","arguments":""}}]}}]}"#;
    let more = format!(
        r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}}}]}}"#
    );
    for to in [Dialect::Messages, Dialect::Responses] {
        let mut translator = translator(Dialect::Chat, to);
        let mut out = Vec::new();
        translator.event(sse::Event { name: "", data: call }, &mut out);
        let mut events = 0;
        while !translator.is_over() {
            out.clear();
            translator.event(sse::Event { name: "", data: &more }, &mut out);
            events += 1;
            assert!(events <= (MAX_KEPT_BYTES >> 20) + 1, "{to:?}");
        }
        assert!(String::from_utf8(out).unwrap().contains("too long"), "{to:?}");
    }
    // A chat's caller gets all of a long answer, because nothing of it is kept.
    let mut translator = translator(Dialect::Messages, Dialect::Chat);
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let more =
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{piece}"}}}}"#);
    let mut out = Vec::new();
    translator.event(sse::Event { name: "", data: start }, &mut out);
    for _ in 0..40 {
        out.clear();
        translator.event(sse::Event { name: "", data: &more }, &mut out);
        assert!(!translator.is_over() && out.len() > piece.len());
    }
}

#[test]
fn an_upstreams_words_cannot_leave_their_place() {
    let evil = "x\n\ndata: [DONE]\n\nevent: message_stop\n\u{2028}\"}]";
    let text = serde_json::to_string(evil).unwrap();
    let wire = [
        format!(r#"{{"id":{text},"model":{text},"choices":[{{"index":0,"delta":{{"content":{text}}}}}]}}"#),
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":{text},"function":{{"name":{text},"arguments":"{{}}"}}}}]}},"finish_reason":{text}}}]}}"#
        ),
        "[DONE]".to_owned(),
    ];
    for to in Dialect::ALL {
        let mut translator = translator(Dialect::Chat, to);
        let mut out = Vec::new();
        wire.iter().for_each(|data| translator.event(sse::Event { name: "", data }, &mut out));
        let mut reader = sse::Reader::default();
        let (mut events, mut ends) = (0, 0);
        reader
            .push(&out, |event| {
                events += 1;
                ends += usize::from(event.is_done() || matches!(event.name, "message_stop" | "response.completed"));
                assert!(event.is_done() || serde_json::from_str::<serde_json::Value>(event.data).is_ok(), "{event:?}");
                assert!(!event.data.contains('\n'));
            })
            .unwrap();
        assert!(events > 3 && ends == 1, "{to:?}: {events} {ends}");
    }
}

#[test]
fn nothing_follows_the_end() {
    for to in Dialect::ALL {
        let mut translator = translator(Dialect::Chat, to);
        let mut out = Vec::new();
        translator.event(sse::Event { name: "", data: "[DONE]" }, &mut out);
        assert!(translator.is_over());
        out.clear();
        translator.event(sse::Event { name: "", data: r#"{"choices":[{"delta":{"content":"x"}}]}"# }, &mut out);
        translator.event(sse::Event { name: "", data: "[DONE]" }, &mut out);
        translator.end(&mut out);
        assert!(out.is_empty(), "{to:?}");
    }
}

#[test]
fn an_answer_without_an_end_of_its_own_is_no_answer() {
    for dialect in Dialect::ALL {
        for body in ["", "{}", "[]", "null", "\"x\"", "{\"choices\":7,\"content\":null,\"output\":null}", "\u{0}"] {
            assert!(Answer::read(dialect, body.as_bytes()).is_err(), "{dialect:?} {body:?}");
        }
    }
}

#[test]
fn two_faults_are_one_error() {
    let mut translator = translator(Dialect::Messages, Dialect::Messages);
    let mut out = Vec::new();
    for data in [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"n","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
        // Ends the first call, whose arguments are no object, and has no name itself.
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}"#,
    ] {
        translator.event(sse::Event { name: "", data }, &mut out);
    }
    assert_eq!(String::from_utf8(out).unwrap().matches("event: error").count(), 1);
}

#[test]
fn names_and_proofs_are_bounded() {
    let long = "x".repeat(1 << 20);
    let call = |number: u32| {
        format!(
            r#"{{"type":"content_block_start","index":{number},"content_block":{{"type":"tool_use","id":"{long}","name":"n","input":{{}}}}}}"#
        )
    };
    let redacted = |number: u32| {
        format!(
            r#"{{"type":"content_block_start","index":{number},"content_block":{{"type":"redacted_thinking","data":"{long}"}}}}"#
        )
    };
    for to in Dialect::ALL {
        for event in [&call as &dyn Fn(u32) -> String, &redacted] {
            let mut translator = translator(Dialect::Messages, to);
            let mut out = Vec::new();
            let mut number = 0;
            while !translator.is_over() {
                out.clear();
                translator.event(sse::Event { name: "", data: &event(number) }, &mut out);
                number += 1;
                assert!(number < 20, "{to:?}");
            }
        }
    }
}

#[test]
fn calls_without_a_name_and_lone_halves_are_bounded() {
    let piece = "x".repeat(1 << 20);
    let more = format!(
        r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"c","function":{{"arguments":"{piece}"}}}}]}}}}]}}"#
    );
    for to in Dialect::ALL {
        let mut unnamed = translator(Dialect::Chat, to);
        let mut out = Vec::new();
        let mut events = 0;
        while !unnamed.is_over() {
            unnamed.event(sse::Event { name: "", data: &more }, &mut out);
            events += 1;
            assert!(events <= (MAX_KEPT_BYTES >> 20) + 1, "{to:?}");
        }
        // A first half waits for its second; a thousand of them are a thousand characters, each with its turn.
        let mut halves = translator(Dialect::Chat, to);
        let half = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"\ud83d"}}]}"#;
        out.clear();
        for _ in 0..1_000 {
            halves.event(sse::Event { name: "", data: half }, &mut out);
        }
        halves.event(sse::Event { name: "", data: "[DONE]" }, &mut out);
        let shown = String::from_utf8(out).unwrap();
        let pieces = shown.lines().filter(|line| line.contains("delta") && line.contains('\u{FFFD}')).count();
        assert!(halves.failure().is_none() && (1_000..=1_001).contains(&pieces), "{to:?}: {pieces}");
    }
}
