//! Whole tasks: one tool, several at once, threads, sub-agents, output schemas.

use cofferdam_contract::work::{EventType, TaskStatus, Why};
use serde_json::json;

use super::rig::{Site, agent_id, caller, sites};
use super::upstream::{Reply, calls, delta, stop, text, usage};
use crate::step::Halt;

#[tokio::test]
async fn a_task_calls_a_tool_and_answers() {
    for site in sites().await {
        let process = site.process().await;
        process.agent("a", json!({"instructions": "Be kind.", "tools": ["run_code"]})).await;
        site.upstream
            .script([calls(&[("run_code", json!({"language": "python", "code": "1+1"}))]), text("It is two.")]);
        let task = process.ask("a", json!({"input": "What is 1+1?"})).await;
        assert_eq!((task.status, process.task(&task.id).await.status), (TaskStatus::Pending, TaskStatus::Pending));
        assert!(matches!(process.turn().await, Halt::Over));
        let task = process.task(&task.id).await;
        assert_eq!((task.status, task.result.as_deref()), (TaskStatus::Completed, Some("It is two.")), "{task:?}");
        assert_eq!((task.steps, task.tokens.prompt_tokens, task.tokens.completion_tokens), (2, 200, 20));
        // 100 tokens in at 1 dollar a million, 10 out at 10: twice.
        assert_eq!((task.cost_usd.as_str(), task.used_tools.as_slice()), ("0.0004", &["run_code".to_owned()][..]));
        assert_eq!(site.runs(), ["1+1"]);
        let said = process.said(&task).await;
        assert_eq!(
            (said.len(), said[0].as_str(), said[3].as_str()),
            (4, "user: What is 1+1?", "assistant: It is two.")
        );
        assert!(said[2].starts_with("tool: ") && said[2].contains("ran 1+1"), "{said:?}");
        let kinds = process.kinds(&task).await;
        assert_eq!(kinds, ["task_created", "tool_call_request", "tool_call_result", "task_finished"]);
        let chunks: String = process
            .events(&task)
            .await
            .iter()
            .filter(|event| event.kind == EventType::Chunk)
            .map(|event| event.data.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(chunks, "It is two.");
        let seen = site.upstream.seen();
        assert_eq!((seen.len(), seen[0]["stream"].as_bool()), (2, Some(true)));
        let last = seen[1]["messages"].as_array().unwrap();
        assert!(last[0]["content"].as_str().unwrap().starts_with("Be kind."));
        assert!(last[3]["content"].as_str().unwrap().starts_with("<tool_data>\n"), "{last:?}");
        assert_eq!(last[2]["tool_calls"][0]["id"], last[3]["tool_call_id"]);
    }
}

#[tokio::test]
async fn calls_beside_each_other_keep_their_order_for_the_model() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({"memory": {"enabled": true}})).await;
    let search = |words: &str| ("memory_search", json!({"query": words}));
    site.upstream.script([calls(&[search("one"), search("two"), search("three"), search("one")]), text("ok")]);
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let task = process.task(&task.id).await;
    assert_eq!(task.status, TaskStatus::Completed, "{task:?}");
    let receipts = process.receipts(&task.id).await;
    assert_eq!(receipts.iter().map(|receipt| receipt.place).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(receipts[3].result.as_ref().unwrap().text.contains("same call"), "{receipts:?}");
    let messages = site.upstream.seen()[1]["messages"].as_array().unwrap().clone();
    let ids: Vec<_> = messages[2]["tool_calls"].as_array().unwrap().iter().map(|call| call["id"].clone()).collect();
    let told: Vec<_> = messages[3..7].iter().map(|message| message["tool_call_id"].clone()).collect();
    assert_eq!(ids, told);
}

#[tokio::test]
async fn a_thread_goes_on_and_runs_one_task_at_a_time() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({})).await;
    site.upstream.script([text("one"), text("two"), text("three")]);
    let first = process.ask("a", json!({"input": "first"})).await;
    let second = process.ask("a", json!({"input": "second", "thread": first.thread_id})).await;
    assert_eq!(second.internal_status, Some(Why::WaitsForThread));
    process.turn().await;
    process.turn().await;
    // A task's id means its thread.
    let third = process.ask("a", json!({"input": {"text": "third"}, "id": second.id})).await;
    process.turn().await;
    assert_eq!(process.task(&third.id).await.result.as_deref(), Some("three"));
    let roles = |at: usize| {
        let seen = site.upstream.seen();
        seen[at]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .skip(1)
            .map(|message| message["content"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(roles(0), ["first"]);
    assert_eq!(roles(1), ["first", "one", "second"]);
    assert_eq!(roles(2), ["first", "one", "second", "two", "third"]);
}

#[tokio::test]
async fn the_same_key_makes_one_task() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({})).await;
    let ask = |text: &str| {
        let request = serde_json::from_value(json!({"input": text, "idempotency_key": "k"})).unwrap();
        let process = &process;
        async move { process.work.invoke(&caller(), &agent_id("a"), request, "api").await }
    };
    let first = ask("x").await.unwrap();
    let again = ask("x").await.unwrap();
    assert_eq!((first.again, again.again, &again.task.id), (false, true, &first.task.id));
    let other = ask("y").await.unwrap_err().to_string();
    assert!(other.contains("idempotency key"), "{other}");
}

#[tokio::test]
async fn a_sub_agent_is_a_task_that_its_parent_waits_for_without_a_slot() {
    for site in sites().await {
        let process = site.process().await;
        process.agent("helper", json!({"description": "Helps."})).await;
        process.agent("boss", json!({"tools": ["agent:helper"]})).await;
        site.upstream.script([text("warm up")]);
        let warm = process.ask("helper", json!({"input": "x"})).await;
        process.turn().await;
        assert_eq!(process.task(&warm.id).await.status, TaskStatus::Completed);
        // The name under which the model is offered the agent.
        site.upstream.script([text("look")]);
        let look = process.ask("boss", json!({"input": "x"})).await;
        process.turn().await;
        assert_eq!(process.task(&look.id).await.status, TaskStatus::Completed);
        let offered = site.upstream.seen()[1]["tools"][0]["function"].clone();
        let name = offered["name"].as_str().unwrap().to_owned();
        let field = offered["parameters"]["required"][0].as_str().unwrap().to_owned();
        site.upstream.script([calls(&[(&name, json!({field: "do it"}))]), text("helped"), text("all done")]);
        let task = process.ask("boss", json!({"input": "go"})).await;
        process.turn().await;
        let parked = process.task(&task.id).await;
        assert_eq!(
            (parked.status, parked.internal_status),
            (TaskStatus::Executing, Some(Why::WaitsForSubAgent)),
            "{parked:?}"
        );
        process.turn().await;
        process.turn().await;
        let task = process.task(&task.id).await;
        assert_eq!((task.status, task.result.as_deref()), (TaskStatus::Completed, Some("all done")), "{task:?}");
        assert_eq!(task.sub_executions.len(), 1);
        let child = process.task(&task.sub_executions[0]).await;
        assert_eq!((child.result.as_deref(), &child.parent_execution), (Some("helped"), &Some(task.id.clone())));
        // The child's use counts for its parent, once.
        assert_eq!((task.tokens.prompt_tokens, child.tokens.prompt_tokens, task.steps), (300, 100, 2));
        let kinds = process.kinds(&task).await;
        assert!(kinds.contains(&"sub_agent_trigger"), "{kinds:?}");
    }
}

#[tokio::test]
async fn agents_call_agents_only_so_deep() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("three", json!({})).await;
    process.agent("two", json!({"tools": ["agent:three"], "limits": {"depth": 1}})).await;
    process.agent("one", json!({"tools": ["agent:two"], "limits": {"depth": 1}})).await;
    site.upstream.script([
        calls(&[("two", json!({"input": "x"}))]),
        calls(&[("three", json!({"input": "x"}))]),
        text("too deep"),
        text("ok"),
    ]);
    let task = process.ask("one", json!({"input": "go"})).await;
    for _ in 0..3 {
        process.turn().await;
    }
    let task = process.task(&task.id).await;
    assert_eq!((task.status, task.result.as_deref()), (TaskStatus::Completed, Some("ok")), "{task:?}");
    let child = process.task(&task.sub_executions[0]).await;
    assert!(child.sub_executions.is_empty() && child.result.as_deref() == Some("too deep"), "{child:?}");
    assert!(site.upstream.seen()[1]["tools"].is_null());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_its_schema_is_sent_back() {
    let site = Site::new().await;
    let process = site.process().await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    process.agent("a", json!({"output_schema": schema, "output_repairs": 1})).await;
    site.upstream.script([text("no json"), text("{\"n\": 5}")]);
    let good = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let good = process.task(&good.id).await;
    assert_eq!((good.status, good.output), (TaskStatus::Completed, Some(json!({"n": 5}))));
    assert!(site.upstream.seen()[0]["response_format"].is_object());
    site.upstream.script([text("no json"), text("{\"n\": \"x\"}")]);
    let bad = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let bad = process.task(&bad.id).await;
    assert_eq!((bad.status, bad.internal_status), (TaskStatus::Failed, Some(Why::OutputInvalid)));
    assert_eq!(bad.result.as_deref(), Some("{\"n\": \"x\"}"));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_goes_on_once() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({})).await;
    let cut = |text: &str| Reply::Events(vec![delta(json!({"content": text})), stop("length"), usage()]);
    site.upstream.script([cut("one "), text("two")]);
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    assert_eq!(process.task(&task.id).await.result.as_deref(), Some("one two"));
    site.upstream.script([cut("one "), cut("two")]);
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let task = process.task(&task.id).await;
    assert_eq!((task.status, task.result.as_deref()), (TaskStatus::Completed, Some("one two")));
    assert!(task.detail.unwrap().contains("cut off"));
}

#[tokio::test]
async fn thinking_is_an_event_and_goes_back_to_the_provider() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({"memory": {"enabled": true}, "reasoning_effort": "low"})).await;
    let think = Reply::Events(vec![
        delta(json!({"reasoning_content": "hm"})),
        delta(json!({"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]})),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "memory_search", "arguments": "{\"query\":\"a\"}"}}]}),
        ),
        stop("tool_calls"),
        usage(),
    ]);
    site.upstream.script([think, text("ok")]);
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    let events = process.events(&process.task(&task.id).await).await;
    assert!(events.iter().any(|event| event.kind == EventType::Think && event.data == json!({"text": "hm"})));
    let seen = site.upstream.seen();
    assert_eq!(seen[0]["reasoning_effort"], "low");
    assert_eq!(seen[1]["messages"][2]["thinking_blocks"][0]["signature"], "s");
}
