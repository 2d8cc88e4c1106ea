//! Providers in trouble: 429 and 529, streams that are cut, refusals that no retry mends, no model at all.

use std::time::Duration;

use cofferdam_contract::work::{TaskStatus, Why};
use serde_json::json;

use super::Kill;
use super::rig::{Site, agent_id, caller, sites};
use super::upstream::{Reply, calls, delta, stop, text, usage};
use crate::parts::LoopConfig;

fn error(status: u16, headers: &'static str, code: &str) -> Reply {
    Reply::Status(status, headers, json!({"error": {"message": "told", "type": "x", "code": code}}).to_string())
}

#[tokio::test]
async fn what_passes_is_tried_again_and_says_so() {
    for site in sites().await {
        let process = site.process().await;
        process.agent("a", json!({})).await;
        site.upstream.script([
            error(503, "", "server_overloaded"),
            Reply::Cut(vec![delta(json!({"content": "half an "}))]),
            text("whole"),
        ]);
        let task = process.ask("a", json!({"input": "x"})).await;
        process.turn().await;
        for _ in 0..8 {
            if !process.task(&task.id).await.status.is_final() {
                process.turn().await;
            }
        }
        let shown = process.task(&task.id).await;
        assert_eq!(
            (shown.status, shown.result.as_deref(), shown.steps),
            (TaskStatus::Completed, Some("whole"), 1),
            "{shown:?}"
        );
        assert_eq!(process.said(&task).await, ["user: x", "assistant: whole"]);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_withdraws_what_was_shown() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({})).await;
    let broken = json!({"error": {"message": "gone", "type": "server_error", "code": "server_error"}});
    site.upstream.script([
        Reply::Slow(
            vec![delta(json!({"content": "half"})), delta(json!({"content": " an"})), broken],
            Duration::from_millis(150),
        ),
        text("whole"),
    ]);
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let shown = process.task(&task.id).await;
    assert_eq!(shown.result.as_deref(), Some("whole"), "{shown:?}");
    let kinds: Vec<&str> = process.events(&task).await.iter().map(|event| event.kind.name()).collect();
    let reset = kinds.iter().position(|kind| *kind == "answer_reset").unwrap_or_else(|| panic!("{kinds:?}"));
    assert!(kinds[..reset].contains(&"chunk") && kinds[reset..].contains(&"chunk"), "{kinds:?}");
}

#[tokio::test]
async fn a_worker_that_died_in_the_middle_of_an_answer_withdraws_it() {
    let site = Site::new().await;
    let dying = site.process_with(Kill::at(1, false), LoopConfig::default()).await;
    dying.agent("a", json!({})).await;
    let slow = || {
        Reply::Slow(
            vec![delta(json!({"content": "one"})), delta(json!({"content": " two"})), stop("stop"), usage()],
            Duration::from_millis(120),
        )
    };
    site.upstream.script([slow(), text("again")]);
    let task = dying.ask("a", json!({"input": "x"})).await;
    dying.turn().await;
    let next = site.process().await;
    dying.dies().await;
    next.turn().await;
    assert_eq!(next.task(&task.id).await.result.as_deref(), Some("again"));
    let kinds = next.kinds(&task).await;
    assert!(kinds.contains(&"answer_reset"), "{kinds:?}");
}

#[tokio::test]
async fn a_long_wait_gives_the_slot_back() {
    let site = Site::new().await;
    let config = LoopConfig { short_wait: Duration::from_millis(100), ..LoopConfig::default() };
    let process = site.process_with(Kill::default(), config).await;
    process.agent("a", json!({})).await;
    site.upstream.script((0..4).map(|_| error(429, "retry-after: 1\r\n", "rate_limit_exceeded")));
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let waits = process.task(&task.id).await;
    assert_eq!((waits.status, waits.internal_status), (TaskStatus::Pending, Some(Why::WaitsForRetry)), "{waits:?}");
    assert!(waits.detail.unwrap().contains("asked again in"));
    for _ in 0..6 {
        if !process.task(&task.id).await.status.is_final() {
            process.turn().await;
        }
    }
    assert_eq!(process.task(&task.id).await.result.as_deref(), Some("done"));
}

#[tokio::test]
async fn after_all_tries_it_is_a_dead_letter_that_can_be_replayed() {
    let site = Site::new().await;
    let config = LoopConfig { max_tries: 2, first_wait: Duration::from_millis(5), ..LoopConfig::default() };
    let process = site.process_with(Kill::default(), config).await;
    process.agent("a", json!({})).await;
    site.upstream.script((0..10).map(|_| error(500, "", "server_error")));
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let dead = process.task(&task.id).await;
    assert_eq!((dead.status, dead.internal_status), (TaskStatus::Error, Some(Why::ModelFailed)), "{dead:?}");
    assert!(dead.problem.unwrap().detail.contains("2 tries"));
}

#[tokio::test]
async fn what_no_retry_mends_fails_at_once_with_the_reason() {
    for (status, code, why) in [
        (400, "invalid_request_error", Why::ModelFailed),
        (404, "model_not_found", Why::NoModel),
        (429, "insufficient_quota", Why::ModelForbidden),
    ] {
        let site = Site::new().await;
        let process = site.process().await;
        process.agent("a", json!({})).await;
        site.upstream.script((0..6).map(|_| error(status, "", code)));
        let task = process.ask("a", json!({"input": "x"})).await;
        process.turn().await;
        let shown = process.task(&task.id).await;
        assert_eq!(
            (shown.status, shown.internal_status),
            (TaskStatus::Failed, Some(why)),
            "{status} {code}: {shown:?}"
        );
    }
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_said_before_anything_is_stored() {
    let site = Site::new().await;
    let process = site.process().await;
    let request = serde_json::from_value(json!({"input": "x"})).unwrap();
    let missing = process.work.invoke(&caller(), &agent_id("other"), request, "api").await.unwrap_err();
    assert!(missing.to_string().contains("no active agent"), "{missing}");
}

#[tokio::test]
async fn limits_end_a_task() {
    for (limits, why) in [
        (json!({"steps": 2}), Why::StepLimit),
        (json!({"tokens": 150}), Why::TokenLimit),
        (json!({"cost_usd": "0.0003"}), Why::MoneyLimit),
    ] {
        let site = Site::new().await;
        let process = site.process().await;
        process.agent("a", json!({"memory": {"enabled": true}, "limits": limits})).await;
        site.upstream.script((0..9).map(|n| calls(&[("memory_search", json!({"query": format!("n{n}")}))])));
        let task = process.ask("a", json!({"input": "x"})).await;
        process.turn().await;
        let shown = process.task(&task.id).await;
        assert_eq!((shown.status, shown.internal_status, shown.steps), (TaskStatus::Failed, Some(why), 2), "{shown:?}");
    }
}

#[tokio::test]
async fn a_full_window_is_compacted_and_asked_again() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({})).await;
    site.upstream.script([text("first answer")]);
    let first = process.ask("a", json!({"input": "a long story ".repeat(2_000)})).await;
    process.turn().await;
    site.upstream.script([error(400, "", "context_length_exceeded"), text("a summary"), text("short")]);
    let task = process.ask("a", json!({"input": "next", "thread": first.thread_id})).await;
    process.turn().await;
    let shown = process.task(&task.id).await;
    assert_eq!((shown.status, shown.result.as_deref()), (TaskStatus::Completed, Some("short")), "{shown:?}");
    let seen = site.upstream.seen();
    let last = seen.last().unwrap()["messages"].to_string();
    assert!(last.contains("a summary") && !last.contains("a long story a long story"), "{last}");
    // Nothing is lost from the store.
    assert!(process.said(&task).await[0].contains("a long story"));
}

#[tokio::test]
async fn the_limits_of_a_task_hold_for_its_sub_agents_too() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("helper", json!({"memory": {"enabled": true}})).await;
    process.agent("boss", json!({"tools": ["agent:helper"], "limits": {"tokens": 250}})).await;
    let search = |n: u32| calls(&[("memory_search", json!({"query": format!("n{n}")}))]);
    site.upstream.script([calls(&[("helper", json!({"input": "x"}))]), search(1), search(2), search(3), search(4)]);
    let task = process.ask("boss", json!({"input": "go"})).await;
    for _ in 0..3 {
        process.turn().await;
    }
    let boss = process.task(&task.id).await;
    let child = process.task(&boss.sub_executions[0]).await;
    assert_eq!(
        (child.status, child.internal_status, child.steps),
        (TaskStatus::Failed, Some(Why::TokenLimit), 2),
        "{child:?}"
    );
    assert!(child.detail.unwrap().contains("works for"));
    assert_eq!((boss.status, boss.internal_status), (TaskStatus::Failed, Some(Why::TokenLimit)), "{boss:?}");
    assert_eq!(boss.tokens.total_tokens, 330);
}

#[tokio::test]
async fn the_time_of_work_is_limited() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({"limits": {"wall_s": 1}})).await;
    let words = (0..100).map(|n| delta(json!({"content": format!("w{n} ")})));
    site.upstream.script([Reply::Slow(words.collect(), Duration::from_millis(100))]);
    let task = process.ask("a", json!({"input": "x"})).await;
    let began = std::time::Instant::now();
    process.turn().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let shown = process.task(&task.id).await;
    assert_eq!((shown.status, shown.internal_status), (TaskStatus::Failed, Some(Why::TimeLimit)), "{shown:?}");
}
