//! The edit that changes a model's name and nothing else, and the estimate.

use cofferdam_dialects::{Dialect, Edit, Head, Seen, Stop, input_tokens};

fn edited(dialect: Dialect, body: &str, usage: bool) -> String {
    let head = Head::read(dialect, body.as_bytes()).unwrap_or_else(|refused| panic!("{body}: {refused}"));
    String::from_utf8(head.edited(&Edit { ask_usage: usage, ..Edit::model("new") })).unwrap()
}

#[test]
fn only_the_model_changes() {
    for (body, expected) in [
        (r#"{"model":"old","a":1}"#, r#"{"model":"new","a":1}"#),
        // The name within other values is none; order, white space, numbers and escapes stay.
        (
            "{ \"x\" : {\"model\": \"old\"} ,\n\t\"n\":1.50e+3, \"model\"  : \"old\" , \"t\":\"\\u0041\\/\" }\r\n",
            "{ \"x\" : {\"model\": \"old\"} ,\n\t\"n\":1.50e+3, \"model\"  : \"new\" , \"t\":\"\\u0041\\/\" }\r\n",
        ),
        (r#"{"mo\u0064el":"old"}"#, r#"{"mo\u0064el":"new"}"#),
        (r#"{"model":"o\"ld","deep":[[[{"model":1}]]]}"#, r#"{"model":"new","deep":[[[{"model":1}]]]}"#),
        // Twice deep inside is not our affair.
        (r#"{"model":"old","x":{"a":1,"a":2}}"#, r#"{"model":"new","x":{"a":1,"a":2}}"#),
    ] {
        assert_eq!(edited(Dialect::Messages, body, true), expected);
    }
    let body = br#"{"model":"same"  }"#;
    assert_eq!(Head::read(Dialect::Chat, body).unwrap().edited(&Edit { ask_usage: true, ..Edit::model("same") }), body);
}

#[test]
fn usage_is_asked_for_in_streams_of_chat() {
    for (body, expected) in [
        (
            r#"{"model":"old","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"new","stream":true}"#,
        ),
        (
            r#" {"model":"old","stream":true,"stream_options":{"include_obfuscation":false}}"#,
            r#" {"model":"new","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
        ),
        (
            r#"{"stream_options":{ },"model":"old","stream":true}"#,
            r#"{"stream_options":{"include_usage":true },"model":"new","stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage": false},"model":"old","stream":true}"#,
            r#"{"stream_options":{"include_usage": true},"model":"new","stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true},"model":"old","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"new","stream":true}"#,
        ),
        (
            r#"{"model":"old","stream":true,"stream_options":null}"#,
            r#"{"model":"new","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"old","stream":true,"stream_options":{"include_usage":null}}"#,
            r#"{"model":"new","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (r#"{"model":"old","stream":false}"#, r#"{"model":"new","stream":false}"#),
    ] {
        assert_eq!(edited(Dialect::Chat, body, true), expected);
    }
    assert_eq!(edited(Dialect::Chat, r#"{"model":"old","stream":true}"#, false), r#"{"model":"new","stream":true}"#);
}

#[test]
fn a_limit_is_lowered_or_written() {
    for (dialect, body, expected) in [
        (Dialect::Messages, r#"{"model":"a","max_tokens": 500 }"#, r#"{"model":"a","max_tokens": 100 }"#),
        (Dialect::Messages, r#"{"model":"a","max_tokens":50}"#, r#"{"model":"a","max_tokens":50}"#),
        (
            Dialect::Chat,
            r#"{"max_tokens":500,"model":"a","max_completion_tokens":101}"#,
            r#"{"max_tokens":100,"model":"a","max_completion_tokens":100}"#,
        ),
        (Dialect::Chat, r#"{"model":"a"}"#, r#"{"max_completion_tokens":100,"model":"a"}"#),
        (Dialect::Responses, " { \"model\":\"a\"}", " {\"max_output_tokens\":100, \"model\":\"a\"}"),
    ] {
        let head = Head::read(dialect, body.as_bytes()).unwrap();
        let edited = head.edited(&Edit { max_tokens: Some(100), ..Edit::model("a") });
        assert_eq!(String::from_utf8(edited).unwrap(), expected);
    }
}

#[test]
fn the_head_is_read() {
    let head =
        Head::read(Dialect::Chat, br#"{"model":"m","stream":true,"max_tokens":5,"max_completion_tokens":7}"#).unwrap();
    assert_eq!((head.model.as_str(), head.stream, head.max_tokens, head.include_usage), ("m", true, Some(7), false));
    let head = Head::read(Dialect::Responses, br#"{"model":"m","max_output_tokens":9}"#).unwrap();
    assert_eq!((head.stream, head.max_tokens, head.include_usage), (false, Some(9), true));
    for (body, field) in [
        ("{", "body"),
        ("[]", "body"),
        ("{} {}", "body"),
        ("\u{feff}{}", "body"),
        ("{}", "model"),
        (r#"{"model":1}"#, "model"),
        (r#"{"model":null}"#, "model"),
        (r#"{"model":"a","model":"b"}"#, "model"),
        (r#"{"model":"a","mod\u0065l":"b"}"#, "model"),
        (r#"{"model":"a","stream":true,"stream":false}"#, "stream"),
        (r#"{"model":"a","max_tokens":1,"max_tokens":2}"#, "max_tokens"),
        (r#"{"model":"a","stream":"yes"}"#, "stream"),
        (r#"{"model":"a","max_tokens":-1}"#, "max_tokens"),
        (r#"{"model":"a","max_tokens":1e9}"#, "max_tokens"),
        ("{\"model\":\"a\",\"x\":\"\u{1}\"}", "body"),
    ] {
        let refused = Head::read(Dialect::Messages, body.as_bytes()).err();
        assert_eq!(refused.map(|refused| refused.field).as_deref(), Some(field), "{body}");
    }
    assert!(Head::read(Dialect::Chat, b"{\"model\":\"\xff\"}").is_err());
    for options in ["7", r#"{"include_usage":true,"include_usage":false}"#, r#"{"include_usage":"yes"}"#] {
        let body = format!(r#"{{"model":"a","stream_options":{options}}}"#);
        assert!(Head::read(Dialect::Chat, body.as_bytes()).is_err(), "{body}");
        assert!(Head::read(Dialect::Messages, body.as_bytes()).is_ok(), "{body}");
    }
}

#[test]
fn the_estimate_is_high_and_pictures_are_not_counted_by_their_bytes() {
    let words = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(1_000));
    // About 1,000 tokens.
    assert!((1_000..4_000).contains(&input_tokens(words.as_bytes())));
    let data = format!("iVBORw0K{}", "A".repeat(4_000_000));
    let chat = format!(r#"{{"messages":[{{"content":[{{"image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#);
    let messages = format!(r#"{{"messages":[{{"content":[{{"source":{{"type":"base64","data":"{data}"}}}}]}}]}}"#);
    for body in [&chat, &messages] {
        assert!((5_000..6_000).contains(&input_tokens(body.as_bytes())), "{}", input_tokens(body.as_bytes()));
    }
    // What only begins like a picture is text.
    let words = format!(r#"{{"content":"iVBORw0K {}"}}"#, "word ".repeat(100_000));
    assert!(input_tokens(words.as_bytes()) > 200_000);
    for body in ["", "\"", "\"\\", "\\\"", "{\"a\":\"\\\"", "\\\\\\"] {
        input_tokens(body.as_bytes());
    }
}

#[test]
fn a_body_that_passes_is_looked_at() {
    let seen = |body: &str| Seen::of(Dialect::Chat, body.as_bytes());
    let answer = seen(
        r#"{"model":"m","choices":[{"message":{"content":"x"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
    );
    assert_eq!((answer.model.as_deref(), answer.stop, answer.complete), (Some("m"), Some(Stop::MaxTokens), true));
    assert_eq!(answer.usage.map(|usage| (usage.input, usage.output)), Some((3, 4)));
    let embeddings = seen(r#"{"object":"list","data":[],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#);
    assert_eq!(embeddings.usage.map(|usage| (usage.input, usage.output)), Some((8, 0)));
    assert!(seen(r#"{"error":{"message":"x","code":"insufficient_quota"}}"#).failure.is_some());
    assert_eq!(seen("<html>"), Seen::default());
}

#[test]
fn a_field_in_disguise_is_refused_and_choices_are_read() {
    for name in
        ["Model", "MODEL", "Max_Tokens", "max_to\u{212a}ens", "N", "\u{17f}tream", "Stream_Options", "Background"]
    {
        let body = format!(r#"{{"model":"small","{name}":1}}"#);
        for dialect in Dialect::ALL {
            let refused = Head::read(dialect, body.as_bytes()).err().unwrap_or_else(|| panic!("{body}"));
            assert_eq!(refused.field, name);
        }
    }
    for (body, choices) in
        [(r#"{"model":"m"}"#, 1), (r#"{"model":"m","n":null}"#, 1), (r#"{"model":"m","n":3,"Models":1}"#, 3)]
    {
        assert_eq!(Head::read(Dialect::Chat, body.as_bytes()).unwrap().choices, choices, "{body}");
    }
    assert!(Head::read(Dialect::Chat, br#"{"model":"m","n":-1}"#).is_err());
    assert!(Head::read(Dialect::Responses, br#"{"model":"m","background":true}"#).unwrap().background);
}

#[test]
fn servers_that_the_provider_is_to_call_are_seen() {
    for (dialect, body, connects) in [
        (Dialect::Responses, r#"{"model":"m","tools":[{"type":"mcp","server_url":"https://x"}]}"#, true),
        (Dialect::Responses, r#"{"model":"m","tools":[{"type":"function"},{"type":"m\u0063p"}]}"#, true),
        (Dialect::Responses, r#"{"model":"m","tools":[{"type":"function","name":"mcp"}]}"#, false),
        (Dialect::Responses, r#"{"model":"m","input":"mcp"}"#, false),
        (Dialect::Messages, r#"{"model":"m","mcp_servers":[{"url":"https://x"}]}"#, true),
        (Dialect::Messages, r#"{"model":"m","\u006dcp_servers":[]}"#, true),
        (Dialect::Messages, r#"{"model":"m","messages":[{"content":"mcp_servers"}]}"#, false),
        (Dialect::Chat, r#"{"model":"m","tools":[{"type":"mcp"}]}"#, true),
    ] {
        assert_eq!(Head::read(dialect, body.as_bytes()).unwrap().connects, connects, "{body}");
    }
}
