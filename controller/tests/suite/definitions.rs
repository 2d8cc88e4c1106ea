//! Definitions of agents over HTTP: one table for both types, drafts and versions, files, lost updates, hostile documents,
//! and what another organization sees.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use axum::body::Body;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp};

async fn import(app: &TestApp, key: &str, text: impl Into<Body>) -> Answer {
    let request = app.request(key, "POST", "/v1/agents/import").header("content-type", "application/yaml");
    app.send(request.body(text.into()).unwrap()).await
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

async fn put(app: &TestApp, id: &str, body: Value) -> Value {
    let answer = app.call(ADMIN, "PUT", &format!("/v1/agents/{id}"), Some(body)).await;
    assert!(answer.status.is_success(), "{}", text(&answer));
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_through_its_versions() {
    let app = TestApp::new().await;
    let sent = json!({"name": "Sales analyst (EU)", "instructions": "Help.", "model": "fast", "tools": ["run_code"]});
    let made = app.call(ADMIN, "POST", "/v1/agents", Some(sent.clone())).await;
    assert_eq!((made.status.as_u16(), &made.headers["etag"]), (201, &"\"1\"".parse().unwrap()), "{}", text(&made));
    let made = made.json();
    for (field, value) in [
        ("id", json!("sales-analyst-eu")),
        ("type", json!("serverless")),
        ("status", json!("ACTIVE")),
        ("version", json!(1)),
        ("instructions", json!("Help.")),
        ("tools", json!(["run_code"])),
    ] {
        assert_eq!(made[field], value, "{field} in {made}");
    }
    // No upstream serves that model yet: said, and not refused.
    assert!(made["warnings"][0].as_str().unwrap().starts_with("model: "), "{made}");
    let again = app.call(ADMIN, "POST", "/v1/agents", Some(sent)).await.json();
    assert!(again["id"].as_str().unwrap().starts_with("sales-analyst-eu-"), "{again}");
    let path = "/v1/agents/sales-analyst-eu";
    // A draft changes nothing that tasks use.
    let draft = app.call(ADMIN, "PATCH", path, Some(json!({"instructions": "Help more.", "model": null}))).await;
    assert_eq!(draft.headers["etag"], "\"2\"");
    let draft = draft.json();
    assert_eq!(
        (&draft["version"], &draft["active_version"], &draft["draft_version"]),
        (&json!(2), &json!(1), &json!(2))
    );
    assert_eq!((&draft["tools"], draft.get("model")), (&json!(["run_code"]), None), "fields that are not sent stay");
    assert_eq!(app.call(ADMIN, "GET", path, None).await.json()["instructions"], "Help.");
    let diff = app.call(ADMIN, "GET", &format!("{path}/diff"), None).await.json();
    let fields: Vec<&str> =
        diff["changes"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!((fields.contains(&"instructions"), fields.contains(&"model"), fields.len()), (true, true, 2), "{diff}");
    let published = app.call(ADMIN, "PUT", path, None).await;
    assert_eq!(published.status, 200, "{}", text(&published));
    assert_eq!(app.call(ADMIN, "GET", path, None).await.json()["instructions"], "Help more.");
    app.call(ADMIN, "PUT", path, None).await.problem(409, "conflict");
    // The same definition again makes no version.
    let same = put(&app, "sales-analyst-eu", json!({"instructions": "Help more.", "tools": ["run_code"]})).await;
    assert_eq!((&same["version"], &same["revision"]), (&json!(2), &json!(3)));
    put(&app, "sales-analyst-eu", json!({"instructions": "Third.", "note": "tried"})).await;
    let versions = app.call(ADMIN, "GET", &format!("{path}/versions?limit=2"), None).await.json();
    let states: Vec<Value> = versions["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["version"], one["status"], one["note"]]))
        .collect();
    assert_eq!(states, [json!([3, "ACTIVE", "tried"]), json!([2, "INACTIVE", null])], "{versions}");
    assert_eq!(versions["next"], 2);
    assert_eq!(app.call(ADMIN, "GET", &format!("{path}/versions/1"), None).await.json()["definition"]["model"], "fast");
    let back = app.call(ADMIN, "POST", &format!("{path}/activate"), Some(json!({"version": 1}))).await.json();
    assert_eq!((&back["version"], &back["instructions"]), (&json!(1), &json!("Help.")));
    app.call(ADMIN, "POST", &format!("{path}/activate"), Some(json!({"version": 9}))).await.problem(404, "not-found");
    let off = app.call(ADMIN, "POST", &format!("{path}/deactivate"), None).await.json();
    assert_eq!(off["status"], "INACTIVE");
    assert_eq!(app.call(ADMIN, "POST", &format!("{path}/activate"), None).await.json()["status"], "ACTIVE");
    let gone = app.call(ADMIN, "DELETE", path, None).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["type"]), (202, &json!("serverless")));
    app.call(ADMIN, "GET", path, None).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_types_are_in_one_list() {
    let app = TestApp::new().await;
    app.call(ADMIN, "POST", "/v1/agents", Some(json!({"id": "box"}))).await;
    put(&app, "mind", json!({"instructions": "Think."})).await;
    let listed = app.call(ADMIN, "GET", "/v1/agents", None).await.json();
    let shown: Vec<Value> =
        listed["agents"].as_array().unwrap().iter().map(|one| json!([one["id"], one["type"], one["status"]])).collect();
    assert_eq!(shown, [json!(["box", "container", "ACTIVE"]), json!(["mind", "serverless", "ACTIVE"])], "{listed}");
    // The fields that existing clients read are there, for either type.
    for agent in listed["agents"].as_array().unwrap() {
        for field in ["id", "name", "environment", "state", "serving", "latest"] {
            assert!(agent.get(field).is_some(), "{field} in {agent}");
        }
    }
    for (method, path, body) in [
        ("POST", "/api/deploy-agent", Some(json!({"agent_id": "mind", "action": "upload"}))),
        ("POST", "/api/deploy-agent", Some(json!({"agent_id": "mind", "action": "stop"}))),
        ("GET", "/agent-containers/mind/generate_upload_link", None),
    ] {
        let refused = app.call(ADMIN, method, path, body).await.problem(409, "conflict");
        assert!(refused["detail"].as_str().unwrap().contains("serverless"), "{refused}");
    }
    app.call(ADMIN, "GET", "/v1/agents/box/export", None).await.problem(409, "conflict");
    app.call(ADMIN, "POST", "/v1/agents", Some(json!({"id": "mind"}))).await.problem(409, "conflict");
    for body in [json!({"id": "import"}), json!({"id": "import", "instructions": "x"})] {
        app.call(ADMIN, "POST", "/v1/agents", Some(body)).await.problem(422, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_update_is_refused() {
    let app = TestApp::new().await;
    put(&app, "a", json!({"instructions": "1"})).await;
    let change = async |tag: &str, to: &str| {
        let request = app.request(ADMIN, "PATCH", "/v1/agents/a").header("if-match", tag);
        let body = Body::from(json!({ "instructions": to }).to_string());
        app.send(request.header("content-type", "application/json").body(body).unwrap()).await
    };
    assert_eq!(change("\"1\"", "2").await.status, 200);
    let refused = change("\"1\"", "3").await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("revision 2"), "{refused}");
    change("\"x\"", "3").await.problem(422, "invalid-request");
    assert_eq!(change("*", "4").await.status, 200);
    let stale = app.call(ADMIN, "PUT", "/v1/agents/a", Some(json!({"instructions": "5", "revision": 1}))).await;
    stale.problem(409, "conflict");
    // Publishing at once: each makes a version, and one is active.
    let all = (0..8).map(|n| {
        let app = &app;
        async move { put(app, "a", json!({ "instructions": format!("n {n}") })).await }
    });
    futures_util::future::join_all(all).await;
    let versions = app.call(ADMIN, "GET", "/v1/agents/a/versions", None).await.json();
    let states =
        |status: &str| versions["versions"].as_array().unwrap().iter().filter(|one| one["status"] == status).count();
    assert_eq!((states("ACTIVE"), states("DRAFT")), (1, 0), "{versions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_makes_agents_and_comes_back() {
    let app = TestApp::new().await;
    let file = "id: one\nname: One\ninstructions: |\n  Help.\n  Be short.\ntools: [run_code, 'agent:two']\nlimits: {steps: 5, cost_usd: '0.50'}\n\
                ---\nid: two\ninstructions: Second.\nstatus: DRAFT\n";
    let outcomes = |answer: &Answer| -> Vec<Value> {
        assert_eq!(answer.status, 200, "{}", text(answer));
        answer.json()["agents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| json!([one["id"], one["outcome"], one["version"]]))
            .collect()
    };
    assert_eq!(outcomes(&import(&app, ADMIN, file).await), [json!(["one", "made", 1]), json!(["two", "made", 1])]);
    assert_eq!(app.call(ADMIN, "GET", "/v1/agents/two", None).await.json()["status"], "DRAFT");
    let one = file.split("---").next().unwrap();
    assert_eq!(outcomes(&import(&app, ADMIN, one).await), [json!(["one", "same", 1])]);
    let exported = app.call(ADMIN, "GET", "/v1/agents/one/export", None).await;
    assert_eq!(exported.headers["content-type"], "application/yaml");
    assert_eq!(
        outcomes(&import(&app, ADMIN, exported.body.clone()).await),
        [json!(["one", "same", 1])],
        "{}",
        text(&exported)
    );
    let as_json = app.call(ADMIN, "GET", "/v1/agents/one/export?format=json", None).await;
    assert_eq!(as_json.json()["instructions"], "Help.\nBe short.\n");
    assert_eq!(outcomes(&import(&app, ADMIN, as_json.body).await), [json!(["one", "same", 1])]);
    let changed = one.replace("Be short", "Be long");
    assert_eq!(outcomes(&import(&app, ADMIN, changed).await), [json!(["one", "changed", 2])]);
    // A name is enough, and means the same agent the next time.
    assert_eq!(
        outcomes(&import(&app, ADMIN, "name: My Agent\ninstructions: x").await),
        [json!(["my-agent", "made", 1])]
    );
    assert_eq!(
        outcomes(&import(&app, ADMIN, "name: My Agent\ninstructions: x").await),
        [json!(["my-agent", "same", 1])]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_documents_change_nothing() {
    let app = TestApp::new().await;
    let mut bomb = "id: bomb\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", ")));
    }
    let deep = format!("id: deep\noutput_schema: {}{}", "{a: ".repeat(5_000), "}".repeat(5_000));
    let cases: Vec<(String, &str)> = vec![
        (bomb, "neither YAML nor JSON"),
        (deep, "neither YAML nor JSON"),
        ("id: a\nid: b".into(), "neither YAML nor JSON"),
        ("id: a\ncolour: red".into(), "unknown field `colour`"),
        ("id: a\nlimits: {step: 5}".into(), "unknown field `step`"),
        ("id: a\nlimits: {steps: 5000}".into(), "limits.steps"),
        ("id: ../../etc\ninstructions: x".into(), "id"),
        ("id: 'a/b'\ninstructions: x".into(), "id"),
        ("id: A\ninstructions: x".into(), "id"),
        ("id: \"a\\0\"\ninstructions: x".into(), "id"),
        ("id: import\ninstructions: x".into(), "`import`"),
        ("id: a\ninstructions: \"x\\0y\"".into(), "instructions"),
        ("id: a\ninstructions: \"x\\e[2Jy\"".into(), "instructions"),
        (format!("id: a\ninstructions: {}", "x".repeat((256 << 10) + 1)), "instructions"),
        ("id: a\ntools: ['http://evil']".into(), "tools[0]"),
        ("id: a\noutput_schema: {$ref: 'https://evil/x'}".into(), "output_schema"),
        ("id: a\ninstructions: ok\n---\nid: b\nlimits: {depth: 99}".into(), "document 2"),
        ("id: a\ninstructions: x\n---\nid: a\ninstructions: y".into(), "document 2"),
        ("id: a\ntype: container".into(), "type"),
        ("just text".into(), "object"),
        (String::new(), "no agent"),
    ];
    for (document, said) in cases {
        let shown: String = document.chars().take(60).collect();
        let refused = import(&app, ADMIN, document).await;
        assert!(matches!(refused.status.as_u16(), 400 | 422), "{shown:?}: {} {}", refused.status, text(&refused));
        assert!(refused.json()["detail"].as_str().unwrap().contains(said), "{shown:?}: {}", text(&refused));
    }
    let huge = import(&app, ADMIN, "x".repeat((4 << 20) + 1)).await;
    assert_eq!(huge.status, 413, "{}", text(&huge));
    let listed = app.call(ADMIN, "GET", "/v1/agents", None).await.json();
    assert_eq!(listed["agents"], json!([]), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organization_sees_nothing() {
    let app = TestApp::new().await;
    put(&app, "a", json!({"instructions": "Ours."})).await;
    let made = app.call(ADMIN, "POST", "/v1/organizations", Some(json!({"id": "other", "name": "Other"}))).await;
    assert_eq!(made.status, 201, "{}", text(&made));
    let body = Some(json!({"name": "theirs", "scopes": ["admin"]}));
    let key = app.call(ADMIN, "POST", "/v1/organizations/other/keys", body).await;
    assert_eq!(key.status, 201, "{}", text(&key));
    let key = key.json()["key"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        ("GET", "/v1/agents/a", None),
        ("PATCH", "/v1/agents/a", Some(json!({"instructions": "Theirs."}))),
        ("PUT", "/v1/agents/a", None),
        ("POST", "/v1/agents/a/activate", None),
        ("POST", "/v1/agents/a/deactivate", None),
        ("GET", "/v1/agents/a/versions", None),
        ("GET", "/v1/agents/a/versions/1", None),
        ("GET", "/v1/agents/a/diff", None),
        ("GET", "/v1/agents/a/export", None),
        ("GET", "/v1/agents/a/memories", None),
        ("DELETE", "/v1/agents/a/memories/memory_1", None),
        ("DELETE", "/v1/agents/a", None),
    ] {
        let answer = app.call(&key, method, path, body).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", text(&answer));
        assert!(!text(&answer).contains("Ours"), "{method} {path}");
    }
    assert_eq!(app.call(&key, "GET", "/v1/agents", None).await.json()["agents"], json!([]));
    // The same id is another agent there.
    let theirs = app.call(&key, "PUT", "/v1/agents/a", Some(json!({"instructions": "Theirs."}))).await;
    assert_eq!(theirs.status, 201, "{}", text(&theirs));
    assert_eq!(app.call(ADMIN, "GET", "/v1/agents/a", None).await.json()["instructions"], "Ours.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_remembers_is_listed_and_forgotten() {
    let app = TestApp::new().await;
    put(&app, "a", json!({"instructions": "x", "memory": {"enabled": true, "per_user": true}})).await;
    let agents = std::sync::Arc::clone(&app.app.agents);
    let (organization, id) =
        (cofferdam_contract::OrganizationId::default_organization(), "a".to_owned().try_into().unwrap());
    for (person, said) in [("", "The office is in Bonn."), ("ann", "Drinks tea."), ("ann", "Likes cats and tea.")] {
        agents.remember(&organization, &id, person, said).await.unwrap();
    }
    for bad in ["", "  ", "a\0b", &"x".repeat(2_001)] {
        assert!(agents.remember(&organization, &id, "", bad).await.is_err());
    }
    let texts = async |query: &str| -> Vec<String> {
        let listed = app.call(ADMIN, "GET", &format!("/v1/agents/a/memories{query}"), None).await.json();
        let mut texts: Vec<String> =
            listed["memories"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap().to_owned()).collect();
        texts.sort_unstable();
        texts
    };
    assert_eq!(texts("").await, ["The office is in Bonn."]);
    assert_eq!(texts("?person=ann").await.len(), 2);
    assert_eq!(texts("?person=ann&q=CATS").await, ["Likes cats and tea."]);
    assert_eq!(texts("?person=bob").await.len(), 0);
    let listed = app.call(ADMIN, "GET", "/v1/agents/a/memories", None).await.json();
    let memory = listed["memories"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/agents/a/memories/{memory}");
    app.call(ADMIN, "DELETE", &format!("{path}?person=ann"), None).await.problem(404, "not-found");
    assert_eq!(app.call(ADMIN, "DELETE", &path, None).await.status, 204);
    app.call(ADMIN, "DELETE", &path, None).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_agents() {
    let app = TestApp::new().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/agents");
    let mut made = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|kind| kind != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let answer = import(&app, ADMIN, text.clone()).await;
        assert_eq!(answer.status, 200, "{}: {}", file.display(), String::from_utf8_lossy(&answer.body));
        let again = import(&app, ADMIN, text).await.json();
        assert!(
            again["agents"].as_array().unwrap().iter().all(|one| one["outcome"] == "same"),
            "{}: {again}",
            file.display()
        );
        // The one thing that they need and this test does not have is a model.
        for agent in answer.json()["agents"].as_array().unwrap() {
            let warnings = agent["warnings"].as_array().cloned().unwrap_or_default();
            let others: Vec<_> = warnings.iter().filter(|one| !one.as_str().unwrap().starts_with("model: ")).collect();
            assert!(others.iter().all(|one| one.as_str().unwrap().contains("there is no agent")), "{others:?}");
            made += 1;
        }
    }
    assert!(made >= 5, "{made}");
}
