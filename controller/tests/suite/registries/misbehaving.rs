//! Registries that are slow or down, refuse, or serve the wrong content.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use serde_json::{Value, json};

use super::rig::{Answers, CONFIG, MANIFEST, WASM, descriptor, manifest, pull, registry, reply};
use crate::support::{ADMIN, TestApp};
use cofferdam_testkit::tools::{FakeTools, component, digest};

/// A registry's behaviour when a manifest or a blob is requested.
#[derive(Clone)]
enum Does {
    Serves(Vec<u8>),
    Answers(u16, &'static str, &'static str),
    /// Announces this many bytes and sends one.
    Breaks(usize),
    /// Sends endlessly.
    Endless,
    /// Sends one byte and stalls.
    Stalls,
    /// Does not answer.
    Silent,
}

impl Does {
    fn answer(&self, kind: &str) -> Response<Body> {
        let one = || stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
        match self {
            Self::Serves(bytes) => reply(200, kind, bytes.clone()),
            Self::Answers(status, kind, body) => reply(*status, kind, *body),
            Self::Breaks(size) => {
                let broken = stream::once(async { Err(std::io::Error::other("breaks off")) });
                let body = Body::from_stream(one().map(|piece| Ok(piece.unwrap())).chain(broken));
                Response::builder().header("content-type", kind).header("content-length", *size).body(body).unwrap()
            }
            Self::Endless => {
                let piece = Bytes::from(vec![b' '; 64 << 10]);
                reply(200, kind, Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(piece.clone()))))
            }
            Self::Stalls => reply(200, kind, Body::from_stream(one().chain(stream::pending()))),
            Self::Silent => reply(200, kind, Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
        }
    }
}

fn registry_that(manifest: Does, blob: Does) -> Answers {
    Arc::new(move |_, path, _| match path {
        path if path.contains("/manifests/") => manifest.answer(MANIFEST),
        path if path.contains("/blobs/") => blob.answer("application/octet-stream"),
        _ => reply(200, "application/json", "{}"),
    })
}

fn serves(manifest: &Value) -> Does {
    Does::Serves(manifest.to_string().into_bytes())
}

/// The manifest with one change.
fn changed(component: &[u8], pointer: &str, value: Value) -> Does {
    let mut manifest = manifest(component);
    *manifest.pointer_mut(pointer).unwrap() = value;
    serves(&manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_does_wrong_is_said_and_the_version_before_serves() {
    let bytes = component(&["f"], 2);
    let good = || serves(&manifest(&bytes));
    let whole = || Does::Serves(bytes.clone());
    let mut flipped = bytes.clone();
    flipped[3] ^= 1;
    let longer = [bytes.as_slice(), b"x"].concat();
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor(MANIFEST, b"x")]});
    let two = json!([descriptor(WASM, &bytes), descriptor(WASM, &bytes)]);
    let denied = r#"{"errors":[{"code":"DENIED","message":"hush-canary"}]}"#;
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x"}]}"#;
    let json = "application/json";
    let rows = [
        ("wrong bytes", good(), Does::Serves(flipped), 502, "other bytes"),
        ("too long", good(), Does::Serves(longer), 502, "longer"),
        ("too short", good(), Does::Serves(bytes[1..].to_vec()), 502, "other bytes"),
        ("empty", good(), Does::Serves(vec![]), 502, "other bytes"),
        ("a blob without end", good(), Does::Endless, 502, "longer"),
        ("a blob that breaks off", good(), Does::Breaks(bytes.len()), 502, "broke off"),
        ("a blob that stalls", good(), Does::Stalls, 502, "in time"),
        ("a blob that is not there", good(), Does::Answers(404, json, "{}"), 422, "there is no"),
        ("a blob that is refused", good(), Does::Answers(403, json, denied), 502, "The registry"),
        ("a manifest that stalls", Does::Stalls, whole(), 502, "in time"),
        ("silence", Does::Silent, whole(), 502, "in time"),
        ("a manifest without end", Does::Endless, whole(), 502, "longer"),
        ("a manifest that breaks off", Does::Breaks(500), whole(), 502, "broke off"),
        ("no manifest", Does::Answers(404, json, unknown), whole(), 422, "there is no"),
        ("401", Does::Answers(401, json, denied), whole(), 502, "401"),
        ("403", Does::Answers(403, json, denied), whole(), 502, "The registry"),
        ("500", Does::Answers(500, "text/plain", "hush-canary"), whole(), 502, "500"),
        ("503 in HTML", Does::Answers(503, "text/html", "<p>hush-canary"), whole(), 502, "503"),
        ("no JSON", Does::Serves(b"<html>".to_vec()), whole(), 502, "distribution specification"),
        ("half a manifest", Does::Serves(b"{\"schemaVersion\":2".to_vec()), whole(), 502, "distribution specification"),
        ("an index", serves(&index), whole(), 422, "index of several"),
        ("two layers", changed(&bytes, "/layers", two), whole(), 422, "has 2"),
        ("no layer", changed(&bytes, "/layers", json!([])), whole(), 422, "has 0"),
        (
            "an image",
            changed(&bytes, "/config/mediaType", json!("application/vnd.oci.image.config.v1+json")),
            whole(),
            422,
            CONFIG,
        ),
        ("a tar", changed(&bytes, "/layers/0/mediaType", json!("application/gzip")), whole(), 422, WASM),
        ("a huge size", changed(&bytes, "/layers/0/size", json!(1_u64 << 40)), whole(), 413, "67108864"),
        ("a size below zero", changed(&bytes, "/layers/0/size", json!(-1)), whole(), 413, "67108864"),
        ("a size that lies", changed(&bytes, "/layers/0/size", json!(5)), whole(), 502, "longer"),
        ("no digest", changed(&bytes, "/layers/0/digest", json!("sha256:../../x")), whole(), 502, "digest"),
        (
            "another hash",
            changed(&bytes, "/layers/0/digest", json!(format!("md5:{}", "0".repeat(32)))),
            whole(),
            502,
            "digest",
        ),
    ];
    let tools = FakeTools::start().await;
    let mut hosts = Vec::new();
    for (_, manifest, blob, ..) in &rows {
        hosts.push(registry(registry_that(manifest.clone(), blob.clone())).await);
    }
    let listed = hosts.iter().map(|host| format!("http://{host}")).collect::<Vec<_>>().join(",");
    let env = [("COFFERDAM_REGISTRIES", listed.as_str()), ("COFFERDAM_REGISTRY_SILENCE_S", "1")];
    let app = TestApp::with_tools(&tools, &env).await;
    let before = app.request(ADMIN, "PUT", "/v1/tools/old").header("content-type", "application/wasm");
    let before = app.send(before.body(Body::from(component(&["f"], 1))).unwrap()).await;
    assert_eq!(before.status, 201, "{}", String::from_utf8_lossy(&before.body));
    let started = Instant::now();
    for ((name, _, _, status, part), host) in rows.iter().zip(&hosts) {
        for tool in ["new", "old"] {
            let answer = pull(&app, tool, &format!("{host}/t/one:1")).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == *status && text.contains(part), "{name}: {} {text}", answer.status);
            assert!(!text.contains("hush"), "{name}: {text}");
        }
        app.call(ADMIN, "GET", "/v1/tools/new", None).await.problem(404, "not-found");
    }
    let outcome = app.call(ADMIN, "POST", "/v1/tools/old/functions/f", Some(json!({}))).await.json();
    assert_eq!(outcome["result"], 1, "the version before still serves");
    let shown = app.call(ADMIN, "GET", "/v1/tools/old", None).await.json();
    assert_eq!(shown["versions"].as_array().unwrap().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_in_a_reference_is_held_to() {
    let (tools, bytes) = (FakeTools::start().await, component(&["f"], 1));
    let text = manifest(&bytes).to_string().into_bytes();
    let host = registry(registry_that(Does::Serves(text.clone()), Does::Serves(bytes))).await;
    let listed = format!("http://{host}");
    let app = TestApp::with_tools(&tools, &[("COFFERDAM_REGISTRIES", &listed)]).await;
    let wrong = pull(&app, "t", &format!("{host}/t/one@{}", digest(b"another manifest"))).await;
    let wrong = wrong.problem(502, "bad-upstream");
    assert!(wrong["detail"].as_str().unwrap().contains("other bytes than asked for"), "{wrong}");
    let right = pull(&app, "t", &format!("{host}/t/one@{}", digest(&text))).await;
    assert_eq!(right.status, 201, "{}", String::from_utf8_lossy(&right.body));
    let source = right.json()["source"].as_str().unwrap().to_owned();
    assert_eq!(source, format!("{host}/t/one@{}", digest(&text)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_or_that_nobody_named() {
    let tools = FakeTools::start().await;
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = TestApp::with_tools(&tools, &[("COFFERDAM_REGISTRIES", &format!("http://{down}"))]).await;
    let refused = pull(&app, "t", &format!("oci://{down}/t/one:1")).await.problem(502, "bad-upstream");
    assert!(refused["detail"].as_str().unwrap().contains("cannot be reached"), "{refused}");
    for reference in ["elsewhere.example/t/one:1", "127.0.0.1:1/t/one:1", "t/one:1"] {
        pull(&app, "t", reference).await.problem(403, "denied-by-policy");
    }
    for reference in ["", "no reference!", &"a".repeat(600)] {
        pull(&app, "t", reference).await.problem(422, "invalid-request");
    }
}
