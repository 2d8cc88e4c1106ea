//! Invoking agents over HTTP: the three ways, both forms of the body, clients that leave, and keys that are used again. The loop is one
//! that only makes tasks; the tests play its worker.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use cofferdam_api::Invoke;
use cofferdam_contract::work::{InvokeRequest, TaskInfo, TaskStatus, Why};
use cofferdam_contract::{AgentId, Problem};
use cofferdam_controller::World;
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_store::{Turn, Write, Written};
use cofferdam_tasks::Tasks;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp};
use crate::tasks::{Events, Rig, new_task};

/// Makes tasks, whatever the agent.
#[derive(Default)]
struct Loop(OnceLock<Arc<Tasks>>);

impl Invoke for Loop {
    fn invoke<'a>(
        &'a self,
        caller: &'a Caller,
        _: &'a AgentId,
        request: InvokeRequest,
        _: &'static str,
    ) -> BoxFuture<'a, Result<TaskInfo, ApiError>> {
        Box::pin(async move {
            let tasks = self.0.get().unwrap();
            let mut new = new_task(&request.input.text);
            new.once = request.idempotency_key.map(|key| (key, request.input.text.clone()));
            let id = match tasks.write(Write::Add(Box::new(new.clone()))).await? {
                Written::Done { task, .. } | Written::Before { task, same: true } => task,
                _ => return Err(Problem::conflict("The idempotency key was used for another request.").into()),
            };
            Ok(tasks.get(caller, &id).await?)
        })
    }
}

async fn rig() -> Rig {
    let makes = Arc::new(Loop::default());
    let world = World { invoke: Some(Arc::clone(&makes) as Arc<dyn Invoke>), ..World::default() };
    let rig = Rig::over(TestApp::within(world, &[]).await);
    makes.0.set(Arc::clone(&rig.tasks)).unwrap();
    rig
}

async fn post(rig: &Rig, path: &str, body: Value) -> Answer {
    rig.app.call(ADMIN, "POST", &format!("/v1/agents/writer/{path}"), Some(body)).await
}

/// The body of a stream whose head has come.
async fn open(rig: &Rig, body: Value) -> Events {
    let request =
        rig.app.request(ADMIN, "POST", "/v1/agents/writer/invoke/stream").header("content-type", "application/json");
    let response = rig.app.client.request(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["location"].to_str().unwrap().starts_with("/v1/tasks/task_"));
    Events { body: response.into_body(), text: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_the_end_a_pause_or_its_time() {
    let rig = rig().await;
    for body in [
        json!({"input": "hello"}),
        json!({"input": {"text": "hello", "files": null}, "id": null, "think_mode": "default"}),
    ] {
        let (answer, ()) = tokio::join!(post(&rig, "invoke", body), async {
            let task = rig.next().await;
            rig.finish(&task, TaskStatus::Completed).await;
        });
        assert_eq!((answer.status.as_u16(), &answer.json()["result"]), (200, &json!("42")), "{}", answer.json());
    }
    let (paused, ()) = tokio::join!(post(&rig, "invoke", json!({"input": "asks"})), async {
        let task = rig.next().await;
        let parks = Turn::Parks { status: TaskStatus::Paused, why: Why::NeedsApproval, detail: String::new() };
        rig.step(&task, parks, |_| {}).await;
    });
    assert_eq!((paused.status.as_u16(), &paused.json()["status"]), (200, &json!("paused")));
    let late = post(&rig, "invoke?timeout_s=1", json!({"input": "slow"})).await;
    assert_eq!((late.status.as_u16(), &late.json()["status"]), (202, &json!("pending")));
    let location = late.headers["location"].to_str().unwrap().to_owned();
    rig.finish(&rig.next().await, TaskStatus::Completed).await;
    assert_eq!(rig.app.call(ADMIN, "GET", &location, None).await.json()["status"], "completed");
    for (path, body, status) in [
        ("invoke?timeout_s=0", json!({"input": "x"}), 422),
        ("invoke?timeout=5", json!({"input": "x"}), 400),
        ("invoke", json!({"input": 5}), 400),
        ("invoke", json!({}), 400),
        ("invoke?version=2", json!({"input": "x", "version": "1"}), 422),
    ] {
        let answer = post(&rig, path, body).await;
        assert!([status, 422].contains(&answer.status.as_u16()), "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_on_when_its_client_leaves() {
    let rig = rig().await;
    // While it waits.
    let waits = tokio::time::timeout(Duration::from_millis(500), post(&rig, "invoke", json!({"input": "left"}))).await;
    assert!(waits.is_err());
    let task = rig.next().await;
    rig.finish(&task, TaskStatus::Completed).await;
    let path = format!("/v1/tasks/{}", task.task.id);
    assert_eq!(rig.app.call(ADMIN, "GET", &path, None).await.json()["status"], "completed");
    // While it follows, and then it comes back.
    let mut events = open(&rig, json!({"input": "left again"})).await;
    assert_eq!(events.next().await.unwrap()["type"], "task_created");
    let task = rig.next().await;
    rig.chunk(&task, "one").await;
    let seen = events.next().await.unwrap();
    drop(events);
    rig.chunk(&task, "two").await;
    rig.finish(&task, TaskStatus::Completed).await;
    let mut again = rig.stream(&format!("/v1/tasks/{}/events", task.task.id), Some(&seen["id"].to_string())).await;
    assert_eq!(again.next().await.unwrap()["data"], "two");
    assert_eq!(again.next().await.unwrap()["type"], "task_finished");
    assert_eq!(again.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_task_whatever_way_it_comes() {
    let rig = rig().await;
    let with_key = async |path: &str, key: &str, body: Value| {
        let request =
            rig.app.request(ADMIN, "POST", &format!("/v1/agents/writer/{path}")).header("idempotency-key", key);
        rig.app
            .send(request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap())
            .await
    };
    let first = with_key("invoke/async", "k1", json!({"input": "once"})).await;
    assert_eq!(
        (first.status.as_u16(), first.headers["location"].to_str().unwrap()),
        (202, &*format!("/v1/tasks/{}", first.json()["id"].as_str().unwrap()))
    );
    let again = with_key("invoke/async", "k1", json!({"input": "once"})).await;
    assert_eq!(again.json()["id"], first.json()["id"]);
    with_key("invoke/async", "k1", json!({"input": "twice"})).await.problem(409, "conflict");
    with_key("invoke/async", "k1", json!({"input": "once", "idempotency_key": "k2"}))
        .await
        .problem(422, "invalid-request");
    with_key("invoke/async", &"x".repeat(300), json!({"input": "once"})).await.problem(422, "invalid-request");
    rig.finish(&rig.next().await, TaskStatus::Completed).await;
    // The same again gives the task that has ended.
    let ended = with_key("invoke", "k1", json!({"input": "once"})).await;
    assert_eq!(
        (ended.json()["id"].clone(), &ended.json()["status"]),
        (first.json()["id"].clone(), &json!("completed"))
    );
    assert_eq!(rig.app.call(ADMIN, "GET", "/v1/tasks", None).await.json()["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_invoke_is_told_so() {
    let rig = rig().await;
    let reader = rig.app.key(&["read"]).await;
    let refused = rig.app.call(&reader, "POST", "/v1/agents/writer/invoke", Some(json!({"input": "x"}))).await;
    assert!(refused.problem(403, "forbidden")["detail"].as_str().unwrap().contains("`invoke`"));
    let invoker = rig.app.key(&["invoke"]).await;
    assert_eq!(
        rig.app.call(&invoker, "POST", "/v1/agents/writer/invoke/async", Some(json!({"input": "x"}))).await.status,
        202
    );
    rig.app
        .call(&invoker, "POST", "/v1/runs", Some(json!({"language": "python", "code": "1"})))
        .await
        .problem(403, "forbidden");
}
