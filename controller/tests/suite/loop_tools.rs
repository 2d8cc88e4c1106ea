//! Agents' tools over the whole controller: sessions that live with a thread, deployed tools, approvals, sub-agents, memory, answers
//! with a form. The model is scripted: it calls the first two tools with values that their schemas allow, then repeats the results.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cofferdam_agents::NewAgent;
use cofferdam_contract::work::{Decide, InvokeRequest, TaskInfo, TaskStatus, Verdict};
use cofferdam_contract::{AgentId, OrganizationId, SessionState, TaskId};
use cofferdam_core::{Caller, Scope, Scopes};
use cofferdam_store::{KeyRow, KeyTerms};
use cofferdam_tasks::{NoLimits, Tasks};
use cofferdam_testkit::models::FakeModels;
use cofferdam_testkit::tools::{FakeTools, component};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{ADMIN, TestApp, eventually};

/// A controller that runs agents.
struct Rig {
    app: TestApp,
    models: FakeModels,
    caller: Caller,
    _ends: DropGuard,
}

fn settings(models: &FakeModels) -> [(&'static str, &'static str); 2] {
    // Lives as long as the tests do.
    let base: &'static str = Box::leak(format!("{}/v1", models.base()).into_boxed_str());
    [("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", "sk-upstream-0123456789abcdef")]
}

impl Rig {
    async fn new() -> Self {
        let models = FakeModels::start().await;
        let app = TestApp::with(1, &settings(&models)).await;
        Self::over(app, models).await
    }

    async fn over(app: TestApp, models: FakeModels) -> Self {
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let tasks = &app.app.tasks;
        tokio::spawn(Arc::clone(tasks).keep_writer(draining.clone(), stop.clone()));
        tokio::spawn(Tasks::keep_following(Arc::clone(tasks), stop.clone()));
        tokio::spawn(Tasks::keep_timers(Arc::clone(tasks), stop.clone()));
        tokio::spawn(Tasks::keep_beating(Arc::clone(tasks), stop.clone()));
        tokio::spawn(Tasks::keep_asked(Arc::clone(tasks), stop.clone()));
        tokio::spawn(Tasks::keep_handing_out(Arc::clone(tasks), Arc::new(NoLimits), stop.clone()));
        tokio::spawn(Arc::clone(&app.app.work).run(draining, stop.clone()));
        let organization = OrganizationId::default_organization();
        let caller = Caller::new("key_of_the_tests", organization.clone(), Scopes::new(vec![Scope::Admin]));
        let key = KeyRow {
            id: caller.key.clone(),
            organization,
            name: "tests".to_owned(),
            hash: "00".repeat(32),
            scopes: "admin".to_owned(),
            created_at: 1,
            terms: KeyTerms::default(),
        };
        // Sessions belong to a key that there is.
        app.app.store.put_key(&key).await.unwrap();
        Self { app, models, caller, _ends: stop.drop_guard() }
    }

    async fn agent(&self, id: &str, definition: Value) -> AgentId {
        let id = AgentId::parse(id).unwrap();
        let mut definition: cofferdam_contract::work::AgentDefinition = serde_json::from_value(definition).unwrap();
        definition.model.get_or_insert_with(|| "gpt-5-mini".to_owned());
        let new =
            NewAgent { id: Some(id.clone()), name: id.to_string(), definition, draft: false, note: String::new() };
        self.app.app.agents.create(&self.caller, new).await.unwrap();
        id
    }

    async fn begin(&self, agent: &AgentId, request: Value) -> TaskInfo {
        let request: InvokeRequest = serde_json::from_value(request).unwrap();
        self.app.app.work.invoke(&self.caller, agent, request, "api").await.unwrap().task
    }

    async fn wait(&self, task: &TaskId) -> TaskInfo {
        self.app.app.tasks.wait(&self.caller, task, Duration::from_secs(20)).await.unwrap()
    }

    /// Asks, and waits for the end or a pause.
    async fn ask(&self, agent: &AgentId, request: Value) -> TaskInfo {
        let task = self.begin(agent, request).await;
        self.wait(&task.id).await
    }

    /// Asks, and returns the answer.
    async fn answer(&self, agent: &AgentId, request: Value) -> (TaskInfo, String) {
        let task = self.ask(agent, request).await;
        assert_eq!(task.status, TaskStatus::Completed, "{task:?}");
        let result = task.result.clone().unwrap();
        (task, result)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lives_with_its_thread() {
    let rig = Rig::new().await;
    let agent = rig.agent("coder", json!({"tools": ["run_code"]})).await;
    let seen = Arc::clone(&rig.app.workers[0].seen);
    let (task, answer) = rig.answer(&agent, json!({"input": "run it"})).await;
    assert!(answer.contains("ran text"), "{answer}");
    let first = {
        let sessions = seen.sessions.lock().unwrap();
        assert_eq!(sessions.len(), 1);
        sessions.keys().next().cloned().unwrap()
    };
    // At the end it is put to rest.
    eventually(|| seen.sessions.lock().unwrap()[&first].state == SessionState::Suspended).await;
    let thread = task.thread_id.to_string();
    let (_, answer) = rig.answer(&agent, json!({"input": "again", "thread": thread})).await;
    assert!(answer.contains("ran text") && !answer.contains("lost"), "{answer}");
    assert_eq!(seen.sessions.lock().unwrap().len(), 1, "it is the same session");
    // The worker loses it: the model is told, and works in a new one.
    seen.sessions.lock().unwrap().clear();
    let (_, answer) = rig.answer(&agent, json!({"input": "once more", "thread": thread})).await;
    assert!(answer.contains("is lost") && answer.contains("ran text"), "{answer}");
    let next = seen.sessions.lock().unwrap().keys().next().cloned().unwrap();
    assert_ne!(next, first);
    // Another thread has another one.
    rig.answer(&agent, json!({"input": "elsewhere"})).await;
    assert_eq!(seen.sessions.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_tool_is_called_once_somebody_approves() {
    let (models, tools) = (FakeModels::start().await, FakeTools::start().await);
    let app = TestApp::with_tools(&tools, &settings(&models)).await;
    let rig = Rig::over(app, models).await;
    let put = rig.app.request(ADMIN, "PUT", "/v1/tools/adder").header("content-type", "application/wasm");
    let deployed = rig.app.send(put.body(Body::from(component(&["add"], 42))).unwrap()).await;
    assert!(deployed.status.is_success(), "{}", String::from_utf8_lossy(&deployed.body));
    let free = rig.agent("free", json!({"tools": ["adder", "nothing-here", "mcp:nobody", "agent:none"]})).await;
    let (_, answer) = rig.answer(&free, json!({"input": "add"})).await;
    assert!(answer.contains("42"), "{answer}");
    let asked = rig.models.take_seen();
    let instructions = asked[0].json()["messages"][0]["content"].as_str().unwrap().to_owned();
    for missing in ["nothing-here", "mcp:nobody", "agent:none"] {
        assert!(instructions.contains(&format!("{missing} is not available now")), "{instructions}");
    }
    let calls = || tools.seen.calls.lock().unwrap().iter().filter(|(tool, _)| tool == "adder").count();
    let before = calls();
    let rules = json!({"tools": ["adder"], "approvals": [{"tool": "ADDER", "message": "Really?"}]});
    let careful = rig.agent("careful", rules).await;
    for (verdict, made, says) in [(Verdict::Approve, 1, "42"), (Verdict::Decline, 0, "declined")] {
        let before = calls();
        let task = rig.ask(&careful, json!({"input": "add"})).await;
        assert_eq!((task.status, task.waits_for.len()), (TaskStatus::Paused, 1), "{task:?}");
        let waits = &task.waits_for[0];
        assert_eq!((waits.message.as_deref(), calls()), (Some("Really?"), before));
        let decide = Decide { verdict, digest: Some(waits.digest.clone()), arguments: None, result: None, note: None };
        rig.app.app.tasks.decide(&rig.caller, &task.id, &waits.call_id, decide).await.unwrap();
        let task = rig.wait(&task.id).await;
        assert!(task.result.as_deref().unwrap_or_default().contains(says), "{task:?}");
        assert_eq!(calls(), before + made);
    }
    assert_eq!(calls(), before + 1);
    let denies =
        json!({"tools": ["adder"], "approvals": [{"destructive": false, "effect": "deny", "message": "Never."}]});
    let denied = rig.agent("denied", denies).await;
    let (_, answer) = rig.answer(&denied, json!({"input": "add"})).await;
    assert!(answer.contains("Never.") && calls() == before + 1, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_calls_another_and_no_circle_is_closed() {
    let rig = Rig::new().await;
    rig.agent("helper", json!({})).await;
    let lead =
        rig.agent("lead", json!({"tools": [{"name": "agent:helper", "rename": {"helper": "ask_helper"}}]})).await;
    // The scripted model names a thread that is none of this conversation.
    let (_, answer) = rig.answer(&lead, json!({"input": "help"})).await;
    assert!(answer.contains("has no thread"), "{answer}");
    let alone = rig.agent("alone", json!({"tools": ["agent:alone"]})).await;
    let (_, answer) = rig.answer(&alone, json!({"input": "go"})).await;
    assert!(answer.contains("would wait for itself"), "{answer}");
    let flat = rig.agent("flat", json!({"tools": ["agent:helper"], "limits": {"depth": 0}})).await;
    rig.models.take_seen();
    rig.answer(&flat, json!({"input": "go"})).await;
    let asked = rig.models.take_seen()[0].json();
    assert!(
        asked["tools"].is_null() && asked["messages"][0]["content"].as_str().unwrap().contains("any deeper"),
        "{asked}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memories_are_saved_found_and_recalled_for_their_person() {
    let rig = Rig::new().await;
    let agent = rig.agent("keeper", json!({"memory": {"enabled": true, "per_user": true}})).await;
    let of = |person: &str| json!({"input": {"text": "note it", "user": {"id": person}}});
    let (_, answer) = rig.answer(&agent, of("ada")).await;
    assert!(answer.contains("emembered as memory_"), "{answer}");
    rig.models.take_seen();
    let instructions = async |person: &str| {
        rig.answer(&agent, of(person)).await;
        let asked = rig.models.take_seen()[0].json();
        asked["messages"][0]["content"].as_str().unwrap().to_owned()
    };
    let adas = instructions("ada").await;
    assert!(adas.contains("<memory_data>\n- text"), "{adas}");
    let bobs = instructions("bob").await;
    assert!(!bobs.contains("<memory_data>\n- text"), "{bobs}");
    let organization = OrganizationId::default_organization();
    let saved = rig.app.app.agents.recall(&organization, &agent, "ada", 10).await.unwrap();
    assert_eq!(saved.len(), 1, "the same fact is kept once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_form_that_is_asked_for() {
    let rig = Rig::new().await;
    let schema = json!({"type": "object", "required": ["city", "number"], "additionalProperties": false,
        "properties": {"city": {"type": "string"}, "number": {"type": "integer"}}});
    let agent = rig.agent("formal", json!({"output_schema": schema})).await;
    let task = rig.ask(&agent, json!({"input": "where"})).await;
    match task.output {
        Some(output) => assert_eq!(output, json!({"city": "Paris", "number": 7})),
        // The scripted model keeps to a form only where the request has a field for it.
        None => {
            assert_eq!(task.status, TaskStatus::Failed, "{:?}", task.detail);
            let repairs = rig.models.take_seen().len();
            assert_eq!(repairs, 3, "the first answer and two repairs");
        }
    }
    let task = rig.ask(&agent, json!({"input": "x", "output_schema": {"type": "string"}})).await;
    assert_eq!((task.status, task.output), (TaskStatus::Completed, Some(json!("text"))));
}
