//! Calls and their budgets: held before, settled after, counted under every name, bounded in the request.

use super::*;

#[tokio::test]
async fn budgets_are_held_settled_and_given_back() {
    let rig = rig().await;
    let budget = rig.budget("tokens", 1_000).await;
    rig.call(Service::Chat, &chat("one/m")).await;
    let used = INPUT_TOKENS + OUTPUT_TOKENS;
    let state = rig.state(&budget).await;
    assert_eq!((state.used, state.held), (used, 0), "{state:?}");
    // What fails costs nothing.
    rig.fake.trouble(Trouble::BadRequest);
    assert_eq!(rig.call(Service::Chat, &chat("one/m")).await.status(), 400);
    assert_eq!(rig.state(&budget).await.used, used);
    // What could be more than there is left is refused, in each protocol, before anything is sent.
    let calls = rig.fake.calls();
    let mut big = chat("one/m");
    big["max_tokens"] = json!(850);
    let reply = rig.call(Service::Chat, &big).await;
    assert_eq!(reply.status(), 429);
    assert!(reply.headers().contains_key("retry-after"));
    let said = json_of(reply).await;
    assert_eq!(
        (&said["error"]["type"], &said["error"]["code"]),
        (&json!("insufficient_quota"), &json!("insufficient_quota"))
    );
    assert!(said["error"]["message"].as_str().unwrap().contains("`b`"), "{said}");
    let reply = rig.call(Service::Messages, &big).await;
    assert_eq!(reply.status(), 429);
    assert_eq!(json_of(reply).await["error"]["type"], "rate_limit_error");
    assert_eq!(rig.fake.calls(), calls);
    // A caller who goes away is charged with what was used at least.
    let mut body = chat("one/words.100.50");
    body["stream"] = json!(true);
    let mut reply = rig.call(Service::Chat, &body).await;
    reply.body_mut().frame().await.unwrap().unwrap();
    drop(reply);
    let state = rig.state(&budget).await;
    assert!(state.used > used && state.held == 0, "{state:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((rig.fake.open(), rig.fake.cancelled()), (0, 1));
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_answer_is_cancelled_and_recorded() {
    let rig = rig().await;
    let budget = rig.budget("requests", 10).await;
    let waited =
        tokio::time::timeout(Duration::from_millis(300), rig.call(Service::Chat, &chat("one/trouble.slow.5000"))).await;
    assert!(waited.is_err());
    let row = rig.record().await;
    assert_eq!((row.group[2].as_deref(), row.requests), (Some("cancelled"), 1));
    let state = rig.state(&budget).await;
    assert_eq!((state.used, state.held), (1, 0));
}

#[tokio::test]
async fn tokens_are_counted_by_the_upstream_that_can_and_estimated_otherwise() {
    let rig = rig().await;
    let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let counted = json_of(rig.call(Service::CountTokens, &body("claude/claude-x")).await).await;
    assert!(counted["input_tokens"].as_u64().is_some(), "{counted}");
    let calls = rig.fake.calls();
    let estimated = json_of(rig.call(Service::CountTokens, &body("one/m")).await).await;
    assert!(estimated["input_tokens"].as_u64().unwrap() > 10 && rig.fake.calls() == calls, "{estimated}");
    // Neither is an estimate of what was used, which is nothing.
    rig.models.accounts().flush().await.unwrap();
    let page = rig.models.accounts().calls(&who().organization, &CallQuery::default()).await.unwrap();
    let told: Vec<_> =
        page.calls.iter().map(|call| (call.upstream.as_deref(), call.input, call.output, call.estimated)).collect();
    assert_eq!(told, [(None, 0, 0, false), (Some("claude"), 0, 0, false)]);
}

#[tokio::test]
async fn a_count_of_tokens_costs_a_request_if_an_upstream_is_asked() {
    let rig = rig().await;
    let budget = rig.budget("requests", 1).await;
    let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..2 {
        assert_eq!(rig.call(Service::CountTokens, &body("one/m")).await.status(), 200);
    }
    assert_eq!(rig.state(&budget).await.used, 0);
    json_of(rig.call(Service::CountTokens, &body("claude/claude-x")).await).await;
    assert_eq!(rig.state(&budget).await.used, 1);
    assert_eq!(rig.call(Service::CountTokens, &body("claude/claude-x")).await.status(), 429);
    assert_eq!(rig.call(Service::CountTokens, &body("one/m")).await.status(), 200);
}

#[tokio::test]
async fn the_model_without_a_price_is_named() {
    let rig = rig().await;
    rig.budget("money", 5).await;
    // `over` tries one/m, which has a price, and then this.
    let reply = rig.call(Service::Chat, &chat("over")).await;
    assert_eq!(reply.status(), 403);
    let said = text(reply).await;
    assert!(said.contains("no price of claude/claude-x is known"), "{said}");
    assert_eq!(rig.fake.calls(), 0);
}

#[tokio::test]
async fn what_a_budget_counts_has_a_bound_in_the_request() {
    let rig = rig().await;
    let budget = rig.budget("tokens", 100_000).await;
    let plain = json!({"model": "one/m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(rig.call(Service::Chat, &plain).await.status(), 200);
    assert_eq!(rig.fake.take_seen()[0].json()["max_completion_tokens"], 8_192, "what is held is what can be used");
    // The larger of two limits counts.
    let mut two = plain.clone();
    two["max_completion_tokens"] = json!(1);
    two["max_tokens"] = json!(200_000);
    assert_eq!(rig.call(Service::Chat, &two).await.status(), 429);
    for (service, field) in [
        (Service::Responses, "previous_response_id"),
        (Service::Responses, "conversation"),
        (Service::Responses, "prompt"),
        (Service::Chat, "n_predict"),
        (Service::Chat, "best_of"),
        (Service::Chat, "options"),
    ] {
        let mut body = json!({"model": "one/m", "input": "hi", "messages": [], field: "x"});
        if service == Service::Chat {
            body.as_object_mut().unwrap().remove("input");
        }
        let reply = rig.call(service, &body).await;
        assert_eq!(reply.status(), 403, "{field}");
        assert!(text(reply).await.contains(field));
    }
    assert_eq!(rig.fake.take_seen().len(), 0);
    assert_eq!(rig.state(&budget).await.held, 0);
}

#[tokio::test]
async fn a_budget_of_a_model_counts_it_under_every_name() {
    let rig = rig().await;
    let spec = json!({"per": "organization", "unit": "requests", "limit": 2, "window": "month", "models": ["m"]});
    let spec: cofferdam_usage::BudgetSpec = serde_json::from_value(spec).unwrap();
    rig.models.settings().put(&who().organization, "b", spec).await.unwrap();
    assert_eq!(rig.call(Service::Chat, &chat("one/m")).await.status(), 200);
    assert_eq!(rig.call(Service::Chat, &chat("both")).await.status(), 200);
    assert_eq!(rig.call(Service::Chat, &chat("two/m")).await.status(), 429);
    assert_eq!(rig.call(Service::Chat, &chat("two/other")).await.status(), 200);
}
