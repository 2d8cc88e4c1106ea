//! Health, readiness, metrics, the OpenAPI document, problem documents.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Call, Server};

#[test]
fn health_and_readiness_need_no_key() {
    let server = Server::shared();
    let bare = |path: &str| Call::new("GET", path).send_to(server.address).unwrap();
    assert_eq!(bare("/health").expect(200), json!({"status": "ok"}));
    let ready = bare("/ready").expect(200);
    assert_eq!(ready["ready"], true);
    let kernels = ready["workers"][0]["kernels"].to_string();
    assert!(kernels.contains("python 3.") && kernels.contains("javascript"), "{ready}");
}

#[test]
fn metrics_count_what_happens() {
    let server = Server::shared();
    let runs = || server.metric("cofferdam_worker_runs_total").unwrap_or(0.0);
    let limits = || server.metric("cofferdam_worker_limits_hit_total").unwrap_or(0.0);
    let (runs_before, limits_before) = (runs(), limits());
    server.run(json!({"language": "python", "code": "while True: pass", "limits": {"wall_ms": 50}})).expect(200);
    assert!(runs() >= runs_before + 1.0 && limits() >= limits_before + 1.0);
    let text = server.get("/metrics").text();
    for name in [
        "cofferdam_api_requests_total",
        "cofferdam_api_request_duration_seconds_bucket",
        "cofferdam_worker_run_seconds",
        "cofferdam_worker_sessions_live",
        "cofferdam_worker_slots_reused_total",
        "cofferdam_worker_image_faults_total",
        "cofferdam_worker_slots_spoiled_total",
    ] {
        assert!(text.contains(name), "no {name} in\n{text}");
    }
    let well_formed =
        |line: &str| line.starts_with('#') || line.rsplit_once(' ').is_some_and(|(_, v)| v.parse::<f64>().is_ok());
    assert!(text.lines().all(well_formed) && text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
}

#[test]
fn the_document_describes_every_call_and_refers_to_nothing_absent() {
    let server = Server::shared();
    let document = server.get("/openapi.json").expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{document}");
    let paths: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in [
        "/v1/runs",
        "/v1/runs/{id}/files/{path}",
        "/v1/sessions",
        "/v1/sessions/{id}",
        "/v1/sessions/{id}/suspend",
        "/v1/sessions/{id}/resume",
        "/v1/sessions/{id}/fork",
        "/v1/sessions/{id}/files",
        "/v1/sessions/{id}/files/{path}",
        "/v1/sessions/{id}/snapshots",
        "/v1/snapshots",
        "/v1/snapshots/{name}",
        "/v1/keys",
        "/v1/keys/{id}",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
    ] {
        assert!(paths.contains(path), "{path} is not described: {paths:?}");
    }
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference inside the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            references.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[test]
fn every_answer_has_a_request_id() {
    let server = Server::shared();
    assert!(server.get("/health").header("x-request-id").unwrap().starts_with("req_"));
    let own = server.send(Call::new("GET", "/v1/sessions").header("x-request-id", "my-id.1"));
    assert_eq!(own.header("x-request-id"), Some("my-id.1"));
    let odd = server.send(Call::new("GET", "/none").header("x-request-id", "a b<script>"));
    odd.problem(404, "not-found");
    assert_ne!(odd.header("x-request-id"), Some("a b<script>"));
}
