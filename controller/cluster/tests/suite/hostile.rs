//! Servers that answer slowly, enormously, elsewhere or by halves: time and memory stay bounded, and credentials stay here.

use std::process::Command;
use std::time::{Duration, Instant};

use cofferdam_cluster::ClusterError;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::api::{Api, TOKEN, certified, id, workload};
use super::raw::{Raw, Stream, head, whole, write};

/// Names the body that the child of the test of memory gets.
const BODY: &str = "COFFERDAM_TEST_HOSTILE_BODY";
const BODY_BYTES: usize = 3 << 20;
/// The most that an answer of [`BODY_BYTES`], or a list of several, may take, with the server of the same process.
const MAX_PEAK_KIB: u64 = 64 << 10;

fn timed_out(outcome: Result<(), ClusterError>, started: Instant) {
    let (error, took) = (outcome.unwrap_err(), started.elapsed());
    assert!(matches!(error, ClusterError::Unreachable(_)) && error.to_string().contains("15 s"), "{error}");
    assert!((Duration::from_secs(14)..Duration::from_secs(18)).contains(&took), "{took:?}");
}

/// An answer has one deadline, however busily its bytes drip.
#[tokio::test(flavor = "multi_thread")]
async fn dripping_bodies_and_heads_end_at_the_deadline() {
    async fn drip(mut stream: Stream, bytes: &'static [u8]) {
        for byte in bytes.iter().cycle() {
            if !write(&mut stream, &[*byte]).await {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let body = Raw::start(|_, mut stream| async move {
        write(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
        drip(stream, b" ").await;
    });
    let refusal = Raw::start(|_, mut stream| async move {
        write(&mut stream, b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n").await;
        drip(stream, b"1\r\n \r\n").await;
    });
    let heads = Raw::start(|_, mut stream| async move {
        write(&mut stream, b"HTTP/1.1 200 OK\r\n").await;
        drip(stream, b"x: y\r\n").await;
    });
    let early = Raw::start(|_, mut stream| async move {
        for _ in 0..60 {
            write(&mut stream, b"HTTP/1.1 103 Early Hints\r\n\r\n").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (body, refusal, heads, early) = tokio::join!(body, refusal, heads, early);
    let started = Instant::now();
    let log = cofferdam_cluster::PodName { workload: id(), pod: "a-pod".to_owned(), restarts: 0 };
    let cluster = heads.cluster();
    let (a, b, c, d, e) = tokio::join!(body.see(), refusal.see(), heads.see(), early.see(), cluster.logs(&log, None));
    for outcome in [a, b, c, d, e.map(drop)] {
        timed_out(outcome, started);
    }
}

/// Bodies of a hostile server. Each would take a hundred times its size as objects.
fn body(name: &str) -> Vec<u8> {
    let of = |begin: &str, each: &str, end: &str| {
        let times = (BODY_BYTES - begin.len() - end.len()) / each.len();
        format!("{begin}{}{end}", each.repeat(times)).into_bytes()
    };
    match name {
        "items" => of(r#"{"items":["#, "{},", "{}]}"),
        "nulls" => of(r#"{"items":["#, "null,", "null]}"),
        "conditions" => of(r#"{"items":[{"status":{"conditions":["#, "{},", "{}]}}]}"),
        "statuses" => of(r#"{"items":[{"status":{"containerStatuses":["#, "{},", "{}]}}]}"),
        "inits" => of(r#"{"items":[{"status":{"initContainerStatuses":["#, "{},", "{}]}}]}"),
        "volumes" => of(r#"{"items":[{"spec":{"volumes":["#, "{},", "{}]}}]}"),
        // As many objects, and as many parts of each, as are kept; and each page leads to another.
        "full" | "pages" => {
            let (conditions, named) = (vec![r#"{"type":"Ready"}"#; 64].join(","), r#"{"name":"agent"}"#);
            let init = r#"{"state":{"waiting":{"reason":"Error"}}}"#;
            let one = format!(
                r#"{{"spec":{{"containers":[{named}]}},"status":{{"conditions":[{conditions}],"containerStatuses":[{named}],"initContainerStatuses":[{init}]}}}}"#
            );
            let next = if name == "pages" { "again" } else { "" };
            format!(r#"{{"metadata":{{"continue":"{next}"}},"items":[{}]}}"#, vec![one; 512].join(",")).into_bytes()
        }
        "labels" => pairs("labels"),
        "annotations" => pairs("annotations"),
        "nested" => of(r#"{"x":"#, "[", ""),
        "objects" => of(r#"{"x":"#, r#"{"x":"#, ""),
        "escapes" => of(r#"{"metadata":{"name":""#, r"\u0061", r#""}}"#),
        "causes" => of(r#"{"status":"Failure","details":{"causes":["#, "{},", "{}]}}"),
        "chunks" => b"7".repeat(BODY_BYTES / 6),
        other => panic!("{other}"),
    }
}

const BODIES: [&str; 15] = [
    "items",
    "nulls",
    "conditions",
    "statuses",
    "inits",
    "volumes",
    "full",
    "pages",
    "labels",
    "annotations",
    "nested",
    "objects",
    "escapes",
    "causes",
    "chunks",
];

/// A map of many different keys.
fn pairs(field: &str) -> Vec<u8> {
    let each: Vec<String> = (0..BODY_BYTES / 12).map(|number| format!("\"k{number:06}\":\"\"")).collect();
    format!("{{\"metadata\":{{\"{field}\":{{{}}}}}}}", each.join(",")).into_bytes()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// In a process of its own, because a process has one peak.
#[tokio::test]
#[ignore = "hostile_answers_take_little_more_memory_than_their_bytes runs it in a process of its own, to read the peak of its memory"]
async fn takes_a_hostile_body() {
    let Ok(name) = std::env::var(BODY) else { return };
    let answer = match name.as_str() {
        "chunks" => {
            let chunks: Vec<u8> =
                body(&name).iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunks.as_slice(), b"0\r\n\r\n"].concat()
        }
        "causes" => whole("422 No", "", &body(&name)),
        _ => whole("200 OK", "connection: close\r\n", &body(&name)),
    };
    let answer = std::sync::Arc::new(answer);
    let api = Raw::start(move |_, mut stream| {
        let answer = std::sync::Arc::clone(&answer);
        async move {
            write(&mut stream, &answer).await;
        }
    });
    let api = api.await;
    // The first request pays for TLS and the client.
    let _ = TcpListener::bind("127.0.0.1:0").await;
    let before = peak_kib();
    let cluster = api.cluster();
    let outcomes = [
        cluster.see(&id()).await.is_ok(),
        cluster.pods(&id()).await.is_ok(),
        cluster.list().await.is_ok(),
        cluster.survey().await.is_ok(),
    ];
    println!("peak {} outcomes {outcomes:?}", peak_kib() - before);
}

#[test]
fn hostile_answers_take_little_more_memory_than_their_bytes() {
    let program = std::env::current_exe().unwrap();
    let mut wrong = Vec::new();
    for name in BODIES {
        let mut child = Command::new(&program);
        child.args(["--exact", "hostile::takes_a_hostile_body", "--ignored", "--nocapture"]).env(BODY, name);
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let peak = text.split("peak ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        println!("{name}: {peak:?} KiB");
        if peak.is_none_or(|peak| peak > MAX_PEAK_KIB) {
            wrong.push(format!("{name}: {peak:?} KiB {text}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn redirects_are_not_followed_and_nothing_goes_elsewhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        for place in [format!("https://127.0.0.1:{port}/x"), format!("http://127.0.0.1:{port}/x"), "/other".to_owned()]
        {
            let api = Raw::start(move |_, mut stream| {
                let answer = whole(status, &format!("location: {place}\r\n"), b"");
                async move {
                    write(&mut stream, &answer).await;
                }
            });
            let api = api.await;
            let error = api.see().await.unwrap_err();
            assert!(matches!(error, ClusterError::Refused(_)) && error.to_string().contains(&status[..3]), "{error}");
            let error = api.cluster().apply(&workload()).await.unwrap_err();
            assert!(error.to_string().contains(&status[..3]), "{error}");
            assert!(
                api.heads().iter().all(|head| head.contains(TOKEN) && !head.contains("/other")),
                "{:?}",
                api.heads()
            );
        }
    }
    let came = tokio::time::timeout(Duration::from_millis(200), elsewhere.accept()).await;
    assert!(came.is_err(), "a redirect was followed");
}

/// Nothing is unpacked: no compression is asked for, and an answer that is compressed all the same is no answer.
#[tokio::test]
async fn compressed_answers_are_not_unpacked() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let api = Raw::start(move |_, mut stream| async move {
            // The head of a gzip file, and what would be a bomb if anybody unpacked it.
            let body = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice(), &[0; 10_000]].concat();
            write(&mut stream, &whole("200 OK", &format!("content-encoding: {coding}\r\n"), &body)).await;
        });
        let api = api.await;
        let error = api.see().await.unwrap_err();
        assert!(matches!(error, ClusterError::Refused(_)) && error.to_string().contains("API server"), "{error}");
        assert!(!api.heads()[0].to_lowercase().contains("accept-encoding"), "{}", api.heads()[0]);
    }
}

fn job(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

/// The server's choice of protocol: HTTP/1.1 beside or without HTTP/2.
#[tokio::test]
async fn http_1_1_is_spoken_and_nothing_else() {
    for offers in [vec![b"h2".to_vec(), b"http/1.1".to_vec()], vec![b"h2".to_vec()], Vec::new()] {
        let (authority, mut config) = certified();
        config.alpn_protocols = offers.clone();
        let api = Raw::with(authority, config, |_, mut stream| async move {
            write(&mut stream, &whole("404 No", "", br#"{"status":"Failure"}"#)).await;
        });
        let api = api.await;
        // No Job, and no list of pods.
        let error = api.see().await.unwrap_err();
        assert!(error.to_string().contains("(404)"), "{offers:?}: {error}");
        assert!(api.heads().iter().all(|head| head.contains(" HTTP/1.1\r\n")), "{:?}", api.heads());
    }
}

#[tokio::test]
async fn connections_that_close_are_made_again_and_half_an_answer_is_none() {
    let text = json!({"metadata": {}, "items": [job("x")]}).to_string();
    let body = text.clone();
    let closing = Raw::start(move |_, mut stream| {
        let answer = whole("200 OK", "connection: close\r\n", body.as_bytes());
        async move {
            write(&mut stream, &answer).await;
        }
    });
    let (closing, body) = (closing.await, text.clone());
    // Keeps the connection, and drops it a moment later.
    let dropping = Raw::start(move |_, mut stream| {
        let answer = whole("200 OK", "", body.as_bytes());
        async move {
            write(&mut stream, &answer).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    for api in [closing, dropping.await] {
        let cluster = api.cluster();
        for _ in 0..3 {
            assert!(cluster.list().await.unwrap().is_empty());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(api.heads().len(), 3);
    }
    // Two requests on one connection.
    let body = text.clone();
    let keeping = Raw::start(move |_, mut stream| {
        let answer = whole("200 OK", "", body.as_bytes());
        async move { while write(&mut stream, &answer).await && head(&mut stream).await.is_some() {} }
    });
    let keeping = keeping.await;
    let cluster = keeping.cluster();
    for _ in 0..3 {
        assert!(cluster.list().await.unwrap().is_empty());
    }
    assert_eq!(keeping.heads().len(), 1, "connections are kept");

    // Without a length, the end of the connection is the end of the answer, wherever that is.
    for orderly in [true, false] {
        for at in [0, 1, text.len() / 2, text.len() - 1] {
            let half = text[..at].to_owned();
            let api = Raw::start(move |_, mut stream| {
                let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{half}");
                async move {
                    write(&mut stream, answer.as_bytes()).await;
                    if orderly {
                        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
                    }
                }
            });
            let error = api.await.cluster().list().await.unwrap_err();
            assert!(error.is_retryable() && error.to_string().contains("broke off"), "{at}: {error}");
        }
    }
}

/// A value that a cluster repeats is shown by nobody who does not know it, and by those who do without it.
#[tokio::test]
async fn refusals_keep_what_the_cluster_says_apart() {
    let api = Api::start().await;
    let said = super::api::status(403, "Forbidden", "no: a-secret-value-of-the-agent").to_string();
    let answer = |method: &str, path: &str, status| super::api::Answer {
        method: method.to_owned(),
        path: path.to_owned(),
        status,
        body: said.clone(),
        ..super::api::Answer::default()
    };
    for status in [400, 403, 404, 409, 410, 413, 418, 422, 429, 500, 503] {
        api.play(vec![answer("GET", "/", status), answer("PATCH", "/", status)]);
        let cluster = api.cluster();
        let outcomes =
            [cluster.list().await.map(drop), cluster.pods(&id()).await.map(drop), cluster.apply(&workload()).await];
        for error in outcomes.into_iter().filter_map(Result::err) {
            for text in [error.to_string(), format!("{error:?}"), format!("{:?}", error.words())] {
                assert!(text.contains("[not shown]") && !text.contains("a-secret"), "{status}: {text}");
            }
            let shown = error.words().shown(|said| said.replace("a-secret-value-of-the-agent", "***"));
            assert!(shown.contains("no: ***"), "{status}: {shown}");
        }
    }
}
