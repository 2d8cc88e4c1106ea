//! Models are bad input too: each case of `bad_cases.json` is what a model answers, and what it is told.

use cofferdam_contract::work::TaskStatus;
use serde::Deserialize;
use serde_json::json;

use super::rig::sites;
use super::upstream::{Reply, raw_calls, text};
use crate::step::Halt;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    answers: Vec<Answer>,
    /// Something that one of the thread's messages says.
    told: String,
    status: String,
    #[serde(default)]
    why: Option<String>,
    #[serde(default)]
    runs: usize,
    /// The longest message.
    #[serde(default)]
    most: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    calls: Vec<(String, String)>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    raw: Option<String>,
    #[serde(default)]
    times: Option<usize>,
    #[serde(default)]
    width: Option<usize>,
    /// `N` in the arguments is the number of the answer.
    #[serde(default)]
    count: bool,
}

fn replies(answer: &Answer) -> Vec<Reply> {
    let one = |number: usize| match (&answer.raw, &answer.text) {
        (Some(raw), _) => Reply::Raw(raw.clone()),
        (_, Some(said)) => text(said),
        _ => {
            let arguments =
                |text: &str| if answer.count { text.replace('N', &number.to_string()) } else { text.to_owned() };
            let calls: Vec<(&str, String)> =
                answer.calls.iter().map(|(name, text)| (name.as_str(), arguments(text))).collect();
            let wide: Vec<_> = (0..answer.width.unwrap_or(1)).flat_map(|_| calls.clone()).collect();
            raw_calls(&wide)
        }
    };
    (0..answer.times.unwrap_or(1)).map(one).collect()
}

#[tokio::test]
async fn bad_answers_are_told_back_and_bounded() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("bad_cases.json")).unwrap();
    // Side by side, because most of a case is waiting between tries of its tool.
    let all = cases.iter().enumerate().map(|(number, case)| async move {
        // The next case does not get the rest of this one's script.
        for fresh in sites().await {
            let own = fresh.process().await;
            let id = format!("a{number}");
            own.agent(&id, json!({"tools": [{"name": "run_code", "repeatable": true}], "limits": {"steps": 12}})).await;
            fresh.upstream.script(case.answers.iter().flat_map(replies));
            let task = own.ask(&id, json!({"input": "x"})).await;
            let halt = own.turn().await;
            assert!(matches!(halt, Halt::Over), "{}: {halt:?}", case.name);
            let shown = own.task(&task.id).await;
            let said = own.said(&task).await;
            assert_eq!(shown.status.name(), case.status, "{}: {shown:?} {said:?}", case.name);
            if let Some(why) = &case.why {
                assert_eq!(shown.internal_status.map(|why| why.name()), Some(why.as_str()), "{}: {shown:?}", case.name);
            }
            assert!(said.iter().any(|text| text.contains(&case.told)), "{}: {said:?}", case.name);
            assert_eq!(fresh.runs().len(), case.runs, "{}: {said:?}", case.name);
            if let Some(most) = case.most {
                assert!(said.iter().all(|text| text.len() <= most), "{}", case.name);
            }
            assert!(shown.status != TaskStatus::Failed || shown.problem.is_some(), "{}", case.name);
            // Whatever was said, the provider gets requests that it takes.
            for request in fresh.upstream.seen() {
                let messages = request["messages"].as_array().unwrap();
                assert_eq!(messages.iter().filter(|message| message["role"] == "system").count(), 1, "{}", case.name);
                for call in messages.iter().flat_map(|message| message["tool_calls"].as_array().into_iter().flatten()) {
                    let name = call["function"]["name"].as_str().unwrap();
                    assert!(
                        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
                        "{name}"
                    );
                    let arguments: serde_json::Value =
                        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                    assert!(arguments.is_object());
                }
            }
            own.dies().await;
        }
    });
    futures_util::future::join_all(all).await;
}
