//! Container agents end to end, as far as possible without a cluster: a real archive, a real registry, and servers that
//! speak the protocols of S3 and ECR.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::docker_registry::DockerRegistry;
use crate::support::{Answer, Call, Server, Setup};

const BINARY: &str = env!("CARGO_BIN_EXE_cofferdam");

/// An image archive, written by the script without Docker.
pub(crate) fn archive(folder: &Path, name: &str, values: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/agent_image.py");
    let done = Command::new("python3").arg(script).arg(&out).args(values).status().unwrap();
    assert!(done.success());
    out
}

fn ask(server: &Server, body: Value) -> Answer {
    server.send(Call::new("POST", "/api/deploy-agent").json(&body))
}

/// Sends to a link, which needs no key.
fn put(link: &str, body: &[u8]) -> Answer {
    let rest = link.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let call = Call::new("PUT", format!("/{path}")).body(body, "application/gzip");
    call.send_to(host.parse().unwrap()).unwrap()
}

/// The deployment once it has settled.
fn settled(server: &Server, agent: &str, number: u64) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let deployment = server.get(&format!("/v1/agents/{agent}/deployments/{number}")).expect(200);
        if matches!(deployment["state"].as_str().unwrap(), "Up" | "Failed" | "Stopped") {
            return deployment;
        }
        assert!(Instant::now() < until, "{deployment:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Without a cluster the error is clear, and the image is kept.
fn waits_for_a_cluster(deployment: &Value, registry: &DockerRegistry, repository: &str) {
    assert_eq!(
        (&deployment["state"], &deployment["reason"]),
        (&json!("Failed"), &json!("no_cluster")),
        "{deployment:#}"
    );
    let detail = deployment["detail"].as_str().unwrap();
    assert!(detail.contains("cluster") && detail.to_lowercase().contains("kubeconfig"), "{detail}");
    let image = deployment["image"].as_str().unwrap();
    let digest = deployment["digest"].as_str().unwrap();
    assert_eq!(image, format!("{}/{repository}@{digest}", registry.host()));
    assert_eq!(registry.manifest(repository, digest).status, 200);
}

#[test]
fn an_image_is_uploaded_and_pushed_and_waits_for_a_cluster() {
    let Some(registry) = DockerRegistry::start() else { return };
    let server = Server::with(
        Setup { unready: true, ..Setup::default() }
            .env("COFFERDAM_IMAGES", format!("http://{}/agents", registry.host()))
            .env("KUBECONFIG", ""),
    );
    let folder = tempfile::tempdir().unwrap();
    let image = std::fs::read(archive(folder.path(), "a.tar", &["text=first"])).unwrap();
    ask(&server, json!({"agent_id": "one", "action": "upload"})).problem(404, "not-found");
    server.post("/v1/agents", &json!({"id": "one"})).expect(201);
    let upload = ask(&server, json!({"agent_id": "one", "action": "upload"})).expect(200);
    let link = upload["link"].as_str().unwrap();
    let sent = put(link, &image);
    assert_eq!(sent.status, 200, "{}", sent.text());
    let deployed = ask(&server, json!({"agent_id": "one", "action": "deploy"})).expect(200);
    assert_eq!(deployed["version"], upload["version"]);
    let deployment = settled(&server, "one", upload["version"].as_u64().unwrap());
    waits_for_a_cluster(&deployment, &registry, "agents/default/one");

    // As the published client does it; the layer is there already.
    let link = server.get("/agent-containers/one/generate_upload_link").expect(200);
    let sent = put(link["link"].as_str().unwrap(), &image);
    assert_eq!(sent.status, 200, "{}", sent.text());
    assert_eq!(sent.json()["skipped"], 1, "{}", sent.text());
    let again = server.send(Call::new("POST", "/agent-containers/one/deploy").json(&json!({}))).expect(200);
    let second = settled(&server, "one", again["version"].as_u64().unwrap());
    assert_eq!(second["digest"], deployment["digest"], "the same archive is the same image");
    // Nothing of the links is in the log.
    for link in [link["link"].as_str().unwrap(), upload["link"].as_str().unwrap()] {
        assert!(!server.log().contains(link.rsplit('/').next().unwrap()));
    }
}

#[test]
fn what_cannot_run_is_refused_and_says_why() {
    let Some(registry) = DockerRegistry::start() else { return };
    let server = Server::with(
        Setup { unready: true, ..Setup::default() }
            .env("COFFERDAM_IMAGES", format!("http://{}/agents", registry.host()))
            .env("COFFERDAM_ALLOW_IN_IMAGES", "app/test/*, other"),
    );
    let folder = tempfile::tempdir().unwrap();
    server.post("/v1/agents", &json!({"id": "one"})).expect(201);
    let key = "text=-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n";
    for (values, word) in [
        (vec!["entrypoint="], "entry"),
        (vec!["path=app/.env", "text=KEY=1"], ".env"),
        (vec!["path=root/.ssh/id_rsa", key], "private key"),
        (vec!["architecture=s390x"], "s390x"),
    ] {
        let image = std::fs::read(archive(folder.path(), "bad.tar", &values)).unwrap();
        let upload = ask(&server, json!({"agent_id": "one", "action": "upload"})).expect(200);
        let detail = put(upload["link"].as_str().unwrap(), &image).problem(422, "bad-image");
        assert!(detail.to_lowercase().contains(word), "{values:?}: {detail}");
        let deployment = settled(&server, "one", upload["version"].as_u64().unwrap());
        assert_eq!(deployment["reason"], "bad_image", "{deployment:#}");
    }
    let allowed = std::fs::read(archive(folder.path(), "allowed.tar", &["path=app/test/.env", "text=KEY=1"])).unwrap();
    let upload = ask(&server, json!({"agent_id": "one", "action": "upload"})).expect(200);
    let sent = put(upload["link"].as_str().unwrap(), &allowed);
    assert_eq!(sent.status, 200, "what the operator allows at this path: {}", sent.text());
    let image = std::fs::read(archive(folder.path(), "good.tar", &[])).unwrap();
    for body in [&image[..image.len() / 2], b"not an archive", b""] {
        let upload = ask(&server, json!({"agent_id": "one", "action": "upload"})).expect(200);
        let sent = put(upload["link"].as_str().unwrap(), body);
        assert_eq!(sent.status, 422, "{} bytes: {}", body.len(), sent.text());
    }
}

#[test]
fn the_command_deploys_and_its_exit_status_says_how_it_ended() {
    let Some(registry) = DockerRegistry::start() else { return };
    let server = Server::with(
        Setup { unready: true, ..Setup::default() }
            .env("COFFERDAM_IMAGES", format!("http://{}/agents", registry.host()))
            // The same registry without `http://`, which COFFERDAM_IMAGES says for all of it.
            .env("COFFERDAM_REGISTRIES", format!("{},127.0.0.1:1", registry.host()))
            .env("KUBECONFIG", ""),
    );
    let folder = tempfile::tempdir().unwrap();
    let image = archive(folder.path(), "a.tar", &[]);
    let run = |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(args).env("COFFERDAM_URL", format!("http://{}", server.address));
        let out = command.env("COFFERDAM_API_KEY", &server.key).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap(), text)
    };
    let image = image.to_str().unwrap();
    let (code, text) = run(&["deploy", image, "--agent", "cli"]);
    assert!(code == 1 && text.contains("--create"), "{code} {text}");
    let (code, text) = run(&["deploy", image, "--agent", "cli", "--create"]);
    assert!(code == 0 && text.contains("1 layer, which was not in the registry yet"), "{code} {text}");
    let (code, text) = run(&["deploy", image, "--agent", "cli", "--wait", "--timeout", "60s"]);
    assert!(code == 3 && text.contains("KUBECONFIG"), "{code} {text}");
    assert!(text.contains("1 layer, which was in the registry already"), "{text}");
    let (code, text) = run(&["agent", "show", "cli"]);
    assert!(code == 0 && text.contains("v2") && text.contains("Failed"), "{code} {text}");
    let (code, text) = run(&["agent", "stop", "cli"]);
    assert!(code == 0 && text.contains("nothing was stopped"), "{code} {text}");
    let (code, text) = run(&["agent", "list"]);
    assert!(code == 0 && text.contains("cli"), "{code} {text}");
    let reference = format!("{}/agents/default/cli:v1", registry.host());
    let (code, text) = run(&["deploy", &reference, "--agent", "cli", "--wait", "--json"]);
    let shown: Value = serde_json::from_str(&text[text.find('{').unwrap()..=text.rfind('}').unwrap()]).unwrap();
    assert!(code == 3 && shown["image"].as_str().unwrap().contains("@sha256:"), "{code} {text}");
    let foreign = format!("{}/agents/other/cli:v1", registry.host());
    let (code, text) = run(&["deploy", &foreign, "--agent", "cli"]);
    let ours = format!("{}/agents/default/", registry.host());
    assert!(code == 1 && text.contains(&ours) && !text.contains("agent create"), "{code} {text}");
    let elsewhere = format!("{}/elsewhere/cli:v1", registry.host());
    let (code, text) = run(&["deploy", &elsewhere, "--agent", "cli"]);
    assert!(code == 1 && !text.contains("TLS") && text.contains("repository"), "{code} {text}");
    let (code, text) = run(&["agent", "delete", "cli"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_registry_without_tls_is_told_with_a_remedy_that_there_is() {
    let Some(registry) = DockerRegistry::start() else { return };
    let server = Server::with(
        Setup { unready: true, ..Setup::default() }.env("COFFERDAM_REGISTRIES", registry.host().to_string()),
    );
    ask(&server, json!({"agent_id": "one", "action": "status"})).problem(404, "not-found");
    server.post("/v1/agents", &json!({"id": "one"})).expect(201);
    let image = format!("{}/team/agent:1", registry.host());
    let detail =
        ask(&server, json!({"agent_id": "one", "action": "deploy", "image": image})).problem(502, "bad-upstream");
    assert!(detail.contains("does not speak TLS") && detail.contains("COFFERDAM_REGISTRIES"), "{detail}");
    assert!(!detail.contains("--plain-http"), "{detail}");
}

/// A server that speaks S3's and ECR's protocols, with a bucket; and a registry.
fn cloud() -> Option<(String, DockerRegistry)> {
    let Ok(aws) = std::env::var("COFFERDAM_TEST_AWS") else {
        eprintln!("SKIPPED: there is no server that speaks S3's and ECR's protocols (COFFERDAM_TEST_AWS)");
        return None;
    };
    let registry = DockerRegistry::start()?;
    let place: std::net::SocketAddr = aws.strip_prefix("http://").unwrap().parse().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while Call::new("PUT", "/images").send_to(place).map_or(true, |answer| answer.status != 200) {
        assert!(Instant::now() < until, "the S3 server does not answer");
        std::thread::sleep(Duration::from_millis(200));
    }
    Some((aws, registry))
}

/// An environment in that cloud, and an agent in it.
fn cloud_agent(server: &Server, aws: &str, registry: &DockerRegistry) {
    let environment = json!({
        "kind": "cloud", "images": format!("{}/cloud", registry.host()), "plain_http": true,
        "bucket": "images", "bucket_prefix": "in/", "region": "eu-central-1", "endpoint": aws,
        "access_key_id": "AKIDTEST", "secret_access_key": "hush-canary", "ecr": true,
    });
    let made = server.send(Call::new("PUT", "/v1/environments/cloud").json(&environment));
    assert!(matches!(made.status, 200 | 201), "{}", made.text());
    assert!(!made.text().contains("hush-canary"));
    server.post("/v1/agents", &json!({"id": "one", "environment": "cloud"})).expect(201);
}

/// Sends an image to the link of an upload.
fn upload(server: &Server) {
    let upload = ask(server, json!({"agent_id": "one", "action": "upload"})).expect(200);
    let folder = tempfile::tempdir().unwrap();
    let image = std::fs::read(archive(folder.path(), "a.tar", &[])).unwrap();
    assert_eq!(put(upload["link"].as_str().unwrap(), &image).status, 200);
}

#[test]
fn a_cloud_environment_answers_the_same() {
    let Some((aws, registry)) = cloud() else { return };
    let server = Server::with(Setup { unready: true, ..Setup::default() });
    cloud_agent(&server, &aws, &registry);
    let link = ask(&server, json!({"agent_id": "one", "action": "upload"})).expect(200)["link"].clone();
    let link = link.as_str().unwrap();
    assert!(link.starts_with(&format!("{aws}/images/in/")) && link.contains("X-Amz-Signature"), "{link}");
    assert!(!link.contains("hush-canary"));
    // Deployed before anything was sent: that is said.
    let early = ask(&server, json!({"agent_id": "one", "action": "deploy"})).expect(200);
    let early = settled(&server, "one", early["version"].as_u64().unwrap());
    assert_eq!(early["reason"], "upload_lost", "{early:#}");

    upload(&server);
    let deployed = ask(&server, json!({"agent_id": "one", "action": "deploy"})).expect(200);
    let deployment = settled(&server, "one", deployed["version"].as_u64().unwrap());
    waits_for_a_cluster(&deployment, &registry, "cloud/default/one");
    assert!(!server.log().contains("hush-canary"));
}

#[test]
fn images_are_brought_by_a_process_of_its_own() {
    let Ok(database) = std::env::var("COFFERDAM_TEST_DATABASE_URL") else {
        eprintln!("SKIPPED: COFFERDAM_TEST_DATABASE_URL names no PostgreSQL");
        return;
    };
    let Some((aws, registry)) = cloud() else { return };
    let name = format!("operator_{}", std::process::id());
    let made = Command::new("psql").args([&database, "-qc", &format!("CREATE DATABASE {name}")]).status();
    assert!(made.unwrap().success());
    let database = format!("{}/{name}", database.rsplit_once('/').unwrap().0);
    let of = |role: &str| {
        let setup = Setup { unready: true, ..Setup::default() }.args(&["--role", role]);
        setup.env("DATABASE_URL", &database).env("COFFERDAM_ENCRYPTION_KEY", "1f2e3d4c5b6a7988".repeat(4))
    };
    let controller = of("controller").env("COFFERDAM_WORKERS", "http://127.0.0.1:1");
    let controller = Server::with(controller.env("COFFERDAM_WORKER_TOKEN", "nobody-has-this-worker-token"));
    cloud_agent(&controller, &aws, &registry);
    upload(&controller);
    let deployed = ask(&controller, json!({"agent_id": "one", "action": "deploy"})).expect(200);
    let version = deployed["version"].as_u64().unwrap();
    let shown = || controller.get(&format!("/v1/agents/one/deployments/{version}")).expect(200);
    let until = Instant::now() + Duration::from_secs(30);
    while shown()["state"] == "Uploading" && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(shown()["state"], "Pushing", "no operator copies it: {:#}", shown());

    let operator = Server::with(of("aws-operator"));
    operator.wait_ready(Duration::from_secs(20));
    let deployment = settled(&controller, "one", version);
    waits_for_a_cluster(&deployment, &registry, "cloud/default/one");
    // It has no API, and says what it has.
    let refused = operator.send(Call::new("GET", "/v1/agents"));
    assert!(refused.status == 404 && refused.text().contains("aws-operator"), "{}", refused.text());
    assert!(operator.send(Call::new("GET", "/metrics")).text().contains("cofferdam_api_requests_total"));
    for log in [operator.log(), controller.log()] {
        assert!(!log.contains("hush-canary"), "{log}");
    }
}
