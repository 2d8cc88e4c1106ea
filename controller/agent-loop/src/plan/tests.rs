use cofferdam_contract::work::{AskedCall, Content};
use cofferdam_contract::{TaskId, ThreadId};
use serde_json::json;

use super::*;

fn message(seq: u64, role: Role, content: Content) -> MessageRow {
    MessageRow { thread: ThreadId::from_random(1), seq, task: TaskId::from_random(1), role, content, at_ms: 0 }
}

fn asked(seq: u64, calls: &[&str]) -> MessageRow {
    let call = |id: &&str| AskedCall { id: (*id).to_owned(), name: "t".to_owned(), arguments: json!({}) };
    message(seq, Role::Assistant, Content { tool_calls: calls.iter().map(call).collect(), ..Content::default() })
}

fn told(seq: u64, call: &str) -> MessageRow {
    message(seq, Role::Tool, Content { call: Some(call.to_owned()), ..Content::default() })
}

fn receipt(call: &str, step: u64, state: ReceiptState) -> ReceiptRow {
    ReceiptRow {
        task: TaskId::from_random(1),
        call: call.to_owned(),
        step,
        place: 0,
        tool: "t".to_owned(),
        arguments: "{}".to_owned(),
        digest: call.to_owned(),
        state,
        repeatable: false,
        result: None,
        child: None,
        message: String::new(),
        on_timeout: "decline".to_owned(),
        expires_at_ms: None,
        decided_by: String::new(),
        note: String::new(),
        created_at_ms: 0,
        updated_at_ms: 0,
    }
}

fn plan(messages: &[MessageRow], receipts: &[ReceiptRow]) -> String {
    let messages: Vec<&MessageRow> = messages.iter().collect();
    match next(&messages, receipts) {
        Next::Calls(acts) => {
            let name = |act: &Act| match act {
                Act::Tell(r) => format!("tell {}", r.call),
                Act::Make(r) => format!("make {}", r.call),
                Act::Repeat(r) => format!("repeat {}", r.call),
                Act::Unknown(r) => format!("unknown {}", r.call),
                Act::Refused(r) => format!("refused {}", r.call),
            };
            acts.iter().map(name).collect::<Vec<_>>().join(", ")
        }
        Next::Model => "model".to_owned(),
        Next::WaitForPerson { unknown } => format!("person {unknown}"),
        Next::WaitForSubAgent => "child".to_owned(),
        Next::Expired { tool } => format!("expired {tool}"),
        Next::Finish => "finish".to_owned(),
        Next::Circles(_) => "circles".to_owned(),
    }
}

#[test]
fn each_state_of_a_call_has_one_thing_to_do() {
    use ReceiptState::*;
    let user = message(1, Role::User, Content::default());
    assert_eq!(plan(std::slice::from_ref(&user), &[]), "model");
    for (state, repeatable, expected) in [
        (Done, false, "tell c"),
        (Approved, false, "make c"),
        (Retry, false, "make c"),
        (Sent, true, "repeat c"),
        (Sent, false, "unknown c"),
        (Declined, false, "refused c"),
        (Expired, false, "refused c"),
        (AwaitingApproval, false, "person false"),
        (Unknown, false, "person true"),
        (Child, false, "child"),
    ] {
        let receipts = [ReceiptRow { repeatable, ..receipt("c", 1, state) }];
        assert_eq!(plan(&[user.clone(), asked(2, &["c"])], &receipts), expected, "{state:?}");
        assert_eq!(plan(&[user.clone(), asked(2, &["c"]), told(3, "c")], &receipts), "model", "{state:?}");
    }
    let stop = ReceiptRow { on_timeout: "stop".to_owned(), ..receipt("c", 1, Expired) };
    assert_eq!(plan(&[user, asked(2, &["c"])], &[stop]), "expired t");
}

#[test]
fn calls_of_a_step_are_planned_together_and_people_come_before_sub_agents() {
    use ReceiptState::*;
    let rows = [message(1, Role::User, Content::default()), asked(2, &["a", "b", "c", "d"]), told(3, "b")];
    let all =
        [receipt("a", 1, Done), receipt("b", 1, Done), receipt("c", 1, Approved), receipt("d", 1, AwaitingApproval)];
    assert_eq!(plan(&rows, &all), "tell a, make c");
    let waits =
        [receipt("a", 1, Child), receipt("b", 1, Done), receipt("c", 1, Child), receipt("d", 1, AwaitingApproval)];
    assert_eq!(plan(&rows, &waits), "person false");
    // A receipt that is missing is answered by the prompt.
    assert_eq!(plan(&rows, &[]), "model");
}

#[test]
fn an_answer_ends_it_unless_something_was_said_after_it() {
    let rows = [message(1, Role::User, Content::default()), message(2, Role::Assistant, Content::default())];
    assert_eq!(plan(&rows, &[]), "finish");
    let more = [rows[0].clone(), rows[1].clone(), message(3, Role::Notice, Content::default())];
    assert_eq!(plan(&more, &[]), "model");
    let summary = [rows[0].clone(), asked(2, &["c"]), told(3, "c"), message(4, Role::Summary, Content::default())];
    assert_eq!(plan(&summary, &[receipt("c", 1, ReceiptState::Done)]), "model");
}

#[test]
fn circles_are_noticed() {
    let step = |n: u64, by: &str, digest: &str| ReceiptRow {
        decided_by: by.to_owned(),
        digest: digest.to_owned(),
        ..receipt(&format!("c{n}"), n, ReceiptState::Done)
    };
    let rows =
        |n: u64| [message(1, Role::User, Content::default()), asked(2, &[&format!("c{n}")]), told(3, &format!("c{n}"))];
    let bad: Vec<_> = (1..=5).map(|n| step(n, BY_LOOP, &format!("d{n}"))).collect();
    assert_eq!(plan(&rows(4), &bad[..4]), "model");
    assert_eq!(plan(&rows(5), &bad), "circles");
    let mixed: Vec<_> = (1..=9).map(|n| step(n, if n == 6 { "" } else { BY_LOOP }, &format!("d{n}"))).collect();
    assert_eq!(plan(&rows(9), &mixed), "model");
    let same: Vec<_> = (1..=6).map(|n| step(n, "", "d")).collect();
    assert_eq!(same_in_a_row(&same, "t", "d"), 6);
    assert_eq!(plan(&rows(5), &same[..5]), "model");
    assert_eq!(plan(&rows(6), &same), "circles");
}
