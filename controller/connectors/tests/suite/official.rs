//! The official server in Python, unmodified. `scripts/with-services` installs it and names its interpreter.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_connectors::CallOptions;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::rig::{Rig, spec};

async fn start(kind: &str) -> Option<(Child, String)> {
    let Ok(python) = std::env::var("COFFERDAM_TEST_MCP") else {
        println!("SKIPPED: COFFERDAM_TEST_MCP names no Python with the MCP SDK");
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/server.py");
    let mut child = Command::new(python)
        .args([script, kind])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let address = format!("127.0.0.1:{}", line.trim());
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(&address).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some((child, format!("http://{address}/mcp")))
}

#[tokio::test]
async fn the_official_server_is_used_as_it_is() {
    for kind in ["json", "events"] {
        let Some((_child, url)) = start(kind).await else { return };
        let rig = Rig::new().await;
        rig.put(spec(&url)).await;
        let report = rig.connectors.test(&rig.caller, "x", None).await.unwrap();
        assert!(report.ok, "{report:?}");
        let names: Vec<&str> = report.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["add", "fail", "slow"]);
        let heard: Arc<Mutex<Vec<f64>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let options = CallOptions {
            deadline: Instant::now() + Duration::from_secs(20),
            idempotency_key: "k".to_owned(),
            progress: Some(Arc::new(move |progress| hears.lock().push(progress.progress))),
        };
        let call = async |tool: &str, arguments: Value| {
            let arguments: Map<String, Value> = arguments.as_object().unwrap().clone();
            rig.connectors.call(&rig.caller.organization, "x", None, tool, &arguments, options.clone()).await.unwrap()
        };
        let found = call("add", json!({ "a": 2, "b": 3 })).await;
        assert_eq!((found.text.as_str(), &found.structured), ("5", &Some(json!({ "result": 5 }))));
        let found = call("slow", json!({ "steps": 3 })).await;
        assert_eq!(found.text, "done");
        if kind == "events" {
            assert_eq!(*heard.lock(), [1.0, 2.0, 3.0]);
        }
        let found = call("fail", json!({})).await;
        assert!(found.is_error && found.text.contains("fail"), "{found:?}");
    }
}
