//! Thinking that one provider made and another one is asked about: it never gets a proof that it cannot check, and its own
//! proofs come home, whoever served the turn before and whichever protocol the caller speaks.

use cofferdam_dialects::{Answer, Dialect, Edit, Head, Request, Takes, Target};
use serde_json::{Value, json};

fn cut(dialect: Dialect, body: &str, takes: Takes) -> String {
    let head = Head::read(dialect, body.as_bytes()).unwrap_or_else(|refused| panic!("{body}: {refused}"));
    String::from_utf8(head.edited(&Edit { takes: Some(takes), ..Edit::model("m") })).unwrap()
}

const OWN: Takes = Takes { unsigned: false, extras: false, blocks: false, budgets: false };
const GEMINI: Takes = Takes { extras: true, ..OWN };
const OTHER: Takes = Takes { unsigned: true, ..GEMINI };
const PROXY: Takes = Takes { blocks: true, ..OTHER };

#[test]
fn foreign_thinking_is_cut_out_of_messages() {
    for (takes, content, expected) in [
        // First, in the middle, last; an item in a signature, unsigned, packed redacted.
        (
            OWN,
            r#"[{"type":"thinking","thinking":"a","signature":"cofferdam1.item.rs_1.X"} , {"type":"text","text":"\u0041 1.0"}]"#,
            r#"[ {"type":"text","text":"\u0041 1.0"}]"#,
        ),
        (
            OWN,
            r#"[ {"type":"text","text":"x"}, {"type":"thinking","thinking":"a","signature":""} , {"type":"tool_use","id":"t","name":"n","input":{}} ]"#,
            r#"[ {"type":"text","text":"x"} , {"type":"tool_use","id":"t","name":"n","input":{}} ]"#,
        ),
        (
            OWN,
            r#"[{"type":"text","text":"x"}, {"thinking":"a","type":"thinking"},{"type":"redacted_thinking","data":"cofferdam1.call.{}"} ]"#,
            r#"[{"type":"text","text":"x"} ]"#,
        ),
        (
            OWN,
            r#"[{"type":"thinking","thinking":"a","signature":null},{"type":"thinking","thinking":"b","signature":"cofferdam1.item.rs.Y"},{"type":"text","text":"x"}]"#,
            r#"[{"type":"text","text":"x"}]"#,
        ),
        // The provider's own stays, and what only looks like it.
        (
            OWN,
            r#"[{"type":"thinking","thinking":"cofferdam1.","signature":"EqSIG"},{"type":"redacted_thinking","data":"Eq"},{"type":"text","text":"\"thinking\" cofferdam1.item"}]"#,
            r#"[{"type":"thinking","thinking":"cofferdam1.","signature":"EqSIG"},{"type":"redacted_thinking","data":"Eq"},{"type":"text","text":"\"thinking\" cofferdam1.item"}]"#,
        ),
        (OWN, r#""cofferdam1.item \"thinking\"""#, r#""cofferdam1.item \"thinking\"""#),
        // Servers of others sign nothing.
        (
            OTHER,
            r#"[{"type":"thinking","thinking":"a","signature":""},{"type":"thinking","thinking":"b","signature":"cofferdam1.item.rs.Y"}]"#,
            r#"[{"type":"thinking","thinking":"a","signature":""}]"#,
        ),
    ] {
        let body = |content: &str| {
            format!(
                "{{ \"model\":\"m\", \"messages\" : [{{\"role\":\"user\",\"content\":\"x\"}},\n {{\"content\":{content},\"role\":\"assistant\"}} ,{{\"role\":\"user\",\"content\":\"y\"}}] , \"max_tokens\":9 }}"
            )
        };
        assert_eq!(cut(Dialect::Messages, &body(content), takes), body(expected));
    }
    // A turn of thinking alone goes as a whole; what the user says stays, whatever it looks like.
    let turn = |role: &str| {
        format!(
            r#"{{"role":"{role}","content":[{{"type":"thinking","thinking":"a","signature":"cofferdam1.item.a.b"}}]}}"#
        )
    };
    let user = r#"{"role":"user","content":"x"}"#;
    for (turns, expected) in [
        (vec![user.to_owned(), turn("assistant"), user.to_owned()], format!("[{user},{user}]")),
        (vec![turn("assistant"), turn("assistant"), user.to_owned()], format!("[{user}]")),
        (vec![user.to_owned(), turn("assistant")], format!("[{user}]")),
        (vec![turn("assistant")], "[]".to_owned()),
        (vec![turn("user"), user.to_owned()], format!("[{},{user}]", turn("user"))),
    ] {
        let body = |turns: &str| format!(r#"{{"model":"m","messages":{turns}}}"#);
        assert_eq!(cut(Dialect::Messages, &body(&format!("[{}]", turns.join(","))), OWN), body(&expected));
    }
}

/// A model that thinks by a budget goes on in a loop of tools only from its own thinking: without it, it does not think.
#[test]
fn thinking_is_off_for_the_rest_of_a_loop_that_another_provider_began() {
    let own = r#"{"type":"thinking","thinking":"a","signature":"EqSIG"},"#;
    let foreign = r#"{"type":"thinking","thinking":"a","signature":"cofferdam1.item.rs_1.X"},"#;
    let call = r#"{"type":"tool_use","id":"t","name":"n","input":{}}"#;
    let result = r#"{"type":"tool_result","tool_use_id":"t","content":"1"}"#;
    let on = r#"{"type":"enabled","budget_tokens":2048}"#;
    let body = |thinking: &str, edits: &str, blocks: &str, end: &str| {
        format!(
            r#"{{"model":"m","thinking": {thinking} ,"context_management":{{"edits":[{edits}]}},"messages":[{{"role":"assistant","content":[{blocks}{call}]}},{{"role":"user","content":[{end}]}}]}}"#
        )
    };
    let budgets = Takes { budgets: true, ..OWN };
    let (off, text) = (r#"{"type":"disabled"}"#, r#"{"type":"text","text":"x"}"#);
    let (old, thoughts) =
        (r#"{"type":"clear_tool_uses_20250919"}"#, r#"{"type":"clear_thinking_20251015","keep":"all"}"#);
    let both = format!("{thoughts},{old}");
    for (takes, sent, expected) in [
        (budgets, body(on, "", foreign, result), body(off, "", "", result)),
        (budgets, body(on, thoughts, foreign, result), body(off, "", "", result)),
        (budgets, body(on, &both, foreign, result), body(off, old, "", result)),
        // Its own thinking leads on; after a text of the user's the model begins anew; nothing was cut; newer models.
        (budgets, body(on, &both, &format!("{foreign}{own}"), result), body(on, &both, own, result)),
        (budgets, body(on, &both, foreign, text), body(on, &both, "", text)),
        (budgets, body(on, &both, "", result), body(on, &both, "", result)),
        (budgets, body(off, old, foreign, result), body(off, old, "", result)),
        (OWN, body(on, &both, foreign, result), body(on, &both, "", result)),
    ] {
        assert_eq!(cut(Dialect::Messages, &sent, takes), expected);
    }
}

#[test]
fn foreign_thinking_is_cut_out_of_chat() {
    let call = r#"{"id":"c","type":"function","function":{"name":"n","arguments":"{}"}}"#;
    let signed = r#"{"type":"thinking","thinking":"a","signature":"EqSIG"}"#;
    let item = r#"{"type":"thinking","thinking":"a","signature":"cofferdam1.item.rs.X"}"#;
    for (takes, fields, expected) in [
        (OWN, format!(r#""role":"assistant", "content":"x", "thinking_blocks":[{signed}], "refusal":null"#), r#""role":"assistant", "content":"x", "refusal":null"#.to_owned()),
        (OWN, format!(r#" "thinking_blocks" : [{signed}] , "reasoning_content":"a", "role":"assistant","content":"x""#), r#" "role":"assistant","content":"x""#.to_owned()),
        (OWN, format!(r#""role":"assistant","content":null,"tool_calls":[{call}],"reasoning":"a","reasoning_details":[]"#), format!(r#""role":"assistant","content":null,"tool_calls":[{call}]"#)),
        (OWN, r#""role":"assistant","tool_calls":[{"extra_content": {"google":{}} , "id":"c"},{"id":"d","extra_content":{}}]"#.to_owned(), r#""role":"assistant","tool_calls":[{ "id":"c"},{"id":"d"}]"#.to_owned()),
        (OTHER, format!(r#""role":"assistant","tool_calls":[{{"id":"c","extra_content":{{}}}}],"reasoning_content":"a","thinking_blocks":[{signed}]"#), r#""role":"assistant","tool_calls":[{"id":"c","extra_content":{}}],"reasoning_content":"a""#.to_owned()),
        (GEMINI, r#""role":"assistant","tool_calls":[{"id":"c","extra_content":{}}],"reasoning_content":"a""#.to_owned(), r#""role":"assistant","tool_calls":[{"id":"c","extra_content":{}}]"#.to_owned()),
        (PROXY, format!(r#""role":"assistant","content":"x","thinking_blocks":[{item},{signed}]"#), format!(r#""role":"assistant","content":"x","thinking_blocks":[{signed}]"#)),
        (PROXY, format!(r#""role":"assistant","content":"x","thinking_blocks":[{item}]"#), r#""role":"assistant","content":"x""#.to_owned()),
        (OWN, format!(r#""role":"user","content":"x","thinking_blocks":[{signed}]"#), format!(r#""role":"user","content":"x","thinking_blocks":[{signed}]"#)),
        (OWN, r#""role":"assistant","content":"x","reasoning_content":null"#.to_owned(), r#""role":"assistant","content":"x","reasoning_content":null"#.to_owned()),
    ] {
        let body = |fields: &str| format!(r#"{{"model":"m","messages":[{{{fields}}}],"reasoning_effort":"low"}}"#);
        assert_eq!(cut(Dialect::Chat, &body(&fields), takes), body(&expected));
    }
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":null,"thinking_blocks":[{signed}]}}]}}"#
    );
    assert_eq!(cut(Dialect::Chat, &body, OWN), r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#);
}

#[test]
fn foreign_thinking_is_cut_out_of_responses() {
    let user = r#"{"role":"user","content":"x"}"#;
    for (takes, item, stays) in [
        (
            OWN,
            r#"{"type":"reasoning","id":"rs_a_0","summary":[],"encrypted_content":"cofferdam1.signature.EqSIG"}"#,
            false,
        ),
        (
            OTHER,
            r#"{"type":"reasoning","id":"rs_a_0","summary":[],"encrypted_content":"cofferdam1.redacted.Eq"}"#,
            false,
        ),
        (OWN, r#"{"type":"reasoning","id":"rs_a_0","summary":[{"type":"summary_text","text":"a"}]}"#, false),
        (OTHER, r#"{"type":"reasoning","id":"rs_a_0","summary":[{"type":"summary_text","text":"a"}]}"#, true),
        // OpenAI's own: with its proof, or stored there.
        (OWN, r#"{"type":"reasoning","id":"rs_68af4030baa4","summary":[],"encrypted_content":"gAAAA"}"#, true),
        (OWN, r#"{"type":"reasoning","id":"rs_68af4030baa4","summary":[]}"#, true),
        (OWN, r#"{"type":"message","role":"assistant","content":"\"reasoning\" cofferdam1."}"#, true),
    ] {
        let body = |items: &str| format!(r#"{{"model":"m","input":[{items}] }}"#);
        let expected = if stays { format!("{user} , {item}, {user}") } else { format!("{user}, {user}") };
        assert_eq!(cut(Dialect::Responses, &body(&format!("{user} , {item}, {user}")), takes), body(&expected));
    }
    let text = r#"{"model":"m","input":"cofferdam1. \"reasoning\""}"#;
    assert_eq!(cut(Dialect::Responses, text, OWN), text);
}

/// A provider of each protocol, its answer with thinking and a call, and the proofs in it.
fn provider(dialect: Dialect) -> (Target<'static>, Value, &'static [&'static str]) {
    let target = |extras| Target { extras, unsigned: extras, ..Target::new("m") };
    match dialect {
        Dialect::Messages => (
            target(false),
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "content": [
                {"type": "thinking", "thinking": "I think.", "signature": "EqSIG"}, {"type": "redacted_thinking", "data": "EqRED"},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]}),
            &["EqSIG", "EqRED"],
        ),
        Dialect::Responses => (
            target(false),
            json!({"id": "resp_1", "status": "completed", "model": "m", "output": [
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "I think."}], "encrypted_content": "gAENC"},
                {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}]}),
            &["gAENC"],
        ),
        Dialect::Chat => (
            target(true),
            json!({"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": null, "reasoning_content": "I think.", "tool_calls": [{"id": "functions.look:0",
                "type": "function", "function": {"name": "look", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "ZXGEM"}}}]}}]}),
            &["ZXGEM"],
        ),
    }
}

const PROOFS: [&str; 4] = ["EqSIG", "EqRED", "gAENC", "ZXGEM"];

/// The first request of a caller, and the second one: the answer as it came, and the result of the call.
fn turns(door: Dialect, answer: Option<&Value>) -> Value {
    let user = json!({"role": "user", "content": "x"});
    let parameters = json!({"type": "object"});
    let call_id = |answer: &Value, list: &str, key: &str| {
        answer[list].as_array().unwrap().iter().find_map(|item| item[key].as_str().map(ToOwned::to_owned)).unwrap()
    };
    match door {
        Dialect::Messages => {
            let mut messages = vec![user];
            if let Some(answer) = answer {
                let id = call_id(answer, "content", "id");
                messages.push(json!({"role": "assistant", "content": answer["content"]}));
                messages.push(
                    json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "1"}]}),
                );
            }
            json!({"model": "m", "max_tokens": 9, "messages": messages, "tools": [{"name": "look", "input_schema": parameters}]})
        }
        Dialect::Responses => {
            let mut input = vec![user];
            if let Some(answer) = answer {
                input.extend(answer["output"].as_array().unwrap().clone());
                let id = call_id(answer, "output", "call_id");
                input.push(json!({"type": "function_call_output", "call_id": id, "output": "1"}));
            }
            json!({"model": "m", "input": input, "tools": [{"type": "function", "name": "look", "parameters": parameters}]})
        }
        Dialect::Chat => {
            let mut messages = vec![user];
            if let Some(answer) = answer {
                let message = &answer["choices"][0]["message"];
                messages.push(message.clone());
                messages.push(
                    json!({"role": "tool", "tool_call_id": call_id(message, "tool_calls", "id"), "content": "1"}),
                );
            }
            json!({"model": "m", "messages": messages, "tools": [{"type": "function", "function": {"name": "look", "parameters": parameters}}]})
        }
    }
}

/// Every door, every provider of the first turn, every provider of the second one: what a fallback of an alias can do.
#[test]
fn no_proof_reaches_another_provider_and_each_comes_home() {
    for door in Dialect::ALL {
        for first in Dialect::ALL {
            let (_, answer, proofs) = provider(first);
            let told = if door == first {
                answer
            } else {
                let request = Request::read(door, turns(door, None).to_string().as_bytes()).unwrap();
                let answer = Answer::read(first, answer.to_string().as_bytes()).unwrap();
                serde_json::from_slice(&answer.write(door, &request, 1).unwrap()).unwrap()
            };
            let body = turns(door, Some(&told)).to_string();
            for second in Dialect::ALL {
                let (target, _, _) = provider(second);
                let case = format!("{door:?}: {first:?}, then {second:?}: {body}");
                let sent = if door == second {
                    cut(door, &body, target.takes())
                } else {
                    let request =
                        Request::read(door, body.as_bytes()).unwrap_or_else(|refused| panic!("{case}: {refused}"));
                    String::from_utf8(request.write(second, &target).unwrap()).unwrap()
                };
                serde_json::from_str::<Value>(&sent).unwrap();
                assert!(!sent.contains("cofferdam1."), "{case}\n{sent}");
                for proof in PROOFS {
                    let own = first == second && proofs.contains(&proof);
                    assert_eq!(sent.contains(proof), own, "{proof} in {case}\n{sent}");
                }
                if first == Dialect::Chat && second != Dialect::Messages {
                    // The id that this server gave, not one that was made for Messages.
                    assert_eq!(sent.matches("functions.look:0").count(), 2, "{case}\n{sent}");
                }
                assert!(sent.contains("\"look\""), "{case}\n{sent}");
            }
        }
    }
}

/// The whole history is passed over in one go, whatever it holds.
#[test]
fn cutting_is_fast() {
    let turn = r#"{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":""},{"type":"text","text":"x"}]},"#;
    let body = format!(r#"{{"model":"m","messages":[{}{{"role":"user","content":"x"}}]}}"#, turn.repeat(20_000));
    let began = std::time::Instant::now();
    let out = cut(Dialect::Messages, &body, OWN);
    assert!(!out.contains("thinking"));
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}
