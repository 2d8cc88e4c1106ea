//! Components from OCI registries: a registry of the test's own that misbehaves, and Debian's `docker-registry` where
//! it is installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Call, Server, Setup};

fn component() -> Vec<u8> {
    wat::parse_str(
        r#"(component
          (core module $m (func (export "one") (result i32) (i32.const 1)))
          (core instance $i (instantiate $m))
          (func (export "one") (result u32) (canon lift (core func $i "one"))))"#,
    )
    .unwrap()
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The answer to a request's path: a status, a media type, a body; `None` is silence.
type Answers = Arc<dyn Fn(&str) -> Option<(u16, String, Vec<u8>)> + Send + Sync>;

/// A registry on loopback with configured answers.
fn registry(answers: Answers) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || serve(stream, &answers));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answers: &Answers) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line.trim() != "" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let Some((status, kind, body)) = answers(&path) else {
            std::thread::sleep(Duration::from_secs(120));
            return;
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             www-authenticate: Basic realm=\"x\"\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(config: &str, layer: &str, bytes: &[u8], size: usize) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": config, "digest": digest(b"{}"), "size": 2},
        "layers": [{"mediaType": layer, "digest": digest(bytes), "size": size}],
    })
    .to_string()
    .into_bytes()
}

/// Deploys from a registry that has this manifest and serves `blob` for its layer.
fn deploy(manifest: &[u8], blob: &[u8]) -> (Server, crate::support::Answer) {
    let (manifest, blob) = (manifest.to_vec(), blob.to_vec());
    let address = registry(Arc::new(move |path: &str| {
        Some(if path.contains("/manifests/") {
            (200, MANIFEST.to_owned(), manifest.clone())
        } else if path.contains("/blobs/") {
            (200, "application/octet-stream".to_owned(), blob.clone())
        } else {
            (200, "application/json".to_owned(), b"{}".to_vec())
        })
    }));
    let server = Server::with(Setup::default().env("COFFERDAM_REGISTRIES", format!("http://{address}")));
    let answer = put(&server, &format!("{address}/t/one:1"));
    (server, answer)
}

fn put(server: &Server, reference: &str) -> crate::support::Answer {
    server.send(Call::new("PUT", "/v1/tools/one").json(&json!({ "oci": reference })))
}

#[test]
fn a_component_is_pulled_and_what_is_none_is_refused() {
    const CONFIG: &str = "application/vnd.wasm.config.v0+json";
    let bytes = component();
    let (server, answer) = deploy(&manifest(CONFIG, "application/wasm", &bytes, bytes.len()), &bytes);
    let made = answer.expect(201);
    assert_eq!(made["version"], digest(&bytes));
    assert!(made["source"].as_str().unwrap().contains("/t/one:1@sha256:"), "{made:#}");
    let outcome = server.post("/v1/tools/one/functions/one", &json!({})).expect(200);
    assert_eq!(outcome["result"], 1);

    let image = "application/vnd.oci.image.config.v1+json";
    for (manifest, blob, status, kind) in [
        (manifest(CONFIG, "application/wasm", &bytes, bytes.len()), b"other bytes".to_vec(), 502, "bad-upstream"),
        (manifest(CONFIG, "application/wasm", &bytes, 5), bytes.clone(), 502, "bad-upstream"),
        (manifest(CONFIG, "application/wasm", &bytes, 1 << 30), bytes.clone(), 413, "too-large"),
        (manifest(image, "application/wasm", &bytes, bytes.len()), bytes.clone(), 422, "bad-component"),
        (manifest(CONFIG, "application/gzip", &bytes, bytes.len()), bytes.clone(), 422, "bad-component"),
        (b"{".to_vec(), bytes.clone(), 502, "bad-upstream"),
    ] {
        let (server, answer) = deploy(&manifest, &blob);
        answer.problem(status, kind);
        server.get("/v1/tools/one").problem(404, "not-found");
    }
}

#[test]
fn a_registry_that_is_down_or_refuses_is_named() {
    let unauthorized =
        registry(Arc::new(|_: &str| Some((401, "application/json".into(), b"{\"errors\":[]}".to_vec()))));
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "[registries.\"{unauthorized}\"]\nplain_http = true\nusername = \"u\"\npassword = \"hush-canary\"\n\
         [registries.\"{down}\"]\nplain_http = true\n"
    );
    let server = Server::with(Setup::default().config(&config));
    for (address, part) in [(unauthorized, "401"), (down, "cannot be reached")] {
        let detail = put(&server, &format!("oci://{address}/t/one:1")).problem(502, "bad-upstream");
        assert!(detail.contains(&address.to_string()) && detail.contains(part), "{detail}");
        assert!(!detail.contains("hush"), "{detail}");
    }
    let detail = put(&server, "elsewhere.example/t/one:1").problem(403, "denied-by-policy");
    assert!(detail.contains("elsewhere.example"), "{detail}");
    put(&server, "no reference!").problem(422, "invalid-request");
    assert!(!server.log().contains("hush-canary"));
}

struct DockerRegistry(Child);

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_pushed_is_pulled_again() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = folder.path().join("config.yml");
    let root = folder.path().join("data");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        root.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(child) = command.spawn() else {
        eprintln!("SKIPPED: docker-registry is not installed");
        return;
    };
    let _registry = DockerRegistry(child);
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "docker-registry does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let server = Server::with(Setup::default().env("COFFERDAM_REGISTRIES", format!("http://127.0.0.1:{port}")));
    server.send(Call::new("PUT", "/v1/tools/one").body(component(), "application/wasm")).expect(201);
    let reference = format!("127.0.0.1:{port}/tools/one:1");
    let pushed = server.post("/v1/tools/one/push", &json!({ "oci": reference })).expect(200);
    let pinned = format!("127.0.0.1:{port}/tools/one@{}", pushed["digest"].as_str().unwrap());
    for reference in [reference, pinned] {
        let made = server.send(Call::new("PUT", "/v1/tools/two").json(&json!({ "oci": reference })));
        assert!(matches!(made.status, 200 | 201), "{}", made.text());
        assert_eq!(made.json()["version"], digest(&component()));
    }
    // The registry's file of the component is changed: what it serves then is refused.
    let hex = digest(&component()).replace("sha256:", "");
    let blob = root.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    let mut bytes = Vec::new();
    std::fs::File::open(&blob).unwrap().read_to_end(&mut bytes).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    let detail = server.send(Call::new("PUT", "/v1/tools/two").json(&json!({ "oci": pushed["reference"] })));
    let detail = detail.problem(502, "bad-upstream");
    assert!(detail.contains("other bytes"), "{detail}");
    let outcome: Value = server.post("/v1/tools/two/functions/one", &json!({})).expect(200);
    assert_eq!(outcome["result"], 1, "the version before still serves");
}
