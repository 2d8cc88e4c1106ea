//! Uploads whose client goes away, in real connections: told at once where the client cannot come back, and in time where
//! the server was killed meanwhile.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::streams::program;
use crate::support::docker_registry::DockerRegistry;
use crate::support::{Call, Server, Setup, process};
use crate::{alone, eventually, push};

fn setup(registry: &DockerRegistry) -> Setup {
    Setup { unready: true, ..Setup::default() }
        .env("COFFERDAM_IMAGES", format!("http://{}/agents", registry.host()))
        .env("COFFERDAM_UPLOAD_WAIT_S", 2)
        .env("KUBECONFIG", "")
}

fn version(server: &Server, number: u64) -> Value {
    let answer = server.get(&format!("/v1/agents/one/deployments/{number}"));
    if answer.status == 200 { answer.json() } else { Value::Null }
}

fn is_lost(deployment: &Value) -> bool {
    deployment["state"] == "Failed" && deployment["reason"] == "upload_lost"
}

#[test]
fn an_upload_that_broke_off_is_lost_in_time_though_the_server_was_killed() {
    let _one = alone();
    let Some(registry) = DockerRegistry::start() else { return };
    let mut server = Server::with(setup(&registry));
    server.post("/v1/agents", &json!({"id": "one"})).expect(201);
    let upload = server.post("/api/deploy-agent", &json!({"agent_id": "one", "action": "upload"})).expect(200);
    let (link, archive) = (upload["link"].as_str().unwrap().to_owned(), push::archive(2_000_000));
    let path = link.split_once("/uploads/").map(|(_, token)| format!("/uploads/{token}")).unwrap();
    let half = Call::new("PUT", path).header("content-length", archive.len().to_string());
    let connection = half.body(&archive[..1_000_000], "application/x-tar").begin(server.address).unwrap();
    eventually("the upload begins", Duration::from_secs(10), || version(&server, 1)["state"] == "Pushing");
    drop(connection);
    server.signal(Signal::KILL);
    server.wait();
    let folder = Arc::clone(&server.folder);
    drop(server);
    std::thread::sleep(Duration::from_secs(5));
    let server = Server::in_folder(folder, setup(&registry));
    eventually("it is lost", Duration::from_secs(20), || is_lost(&version(&server, 1)));
}

#[test]
fn a_deployment_from_standard_input_that_is_cancelled_is_lost_at_once() {
    let _one = alone();
    let Some(registry) = DockerRegistry::start() else { return };
    let server = Server::with(setup(&registry).env("COFFERDAM_UPLOAD_WAIT_S", 600));
    server.post("/v1/agents", &json!({"id": "one"})).expect(201);
    let mut client = Command::new(program());
    client.args(["deploy", "-", "--agent", "one"]).env_clear().stdin(Stdio::piped()).stderr(Stdio::null());
    client.env("COFFERDAM_URL", format!("http://{}", server.address)).env("COFFERDAM_API_KEY", &server.key);
    let mut client = client.spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(&push::archive(2_000_000)[..1_000_000]).unwrap();
    eventually("the upload begins", Duration::from_secs(10), || version(&server, 1)["state"] == "Pushing");
    process::signal(client.id(), Signal::INT);
    assert!(!client.wait().unwrap().success());
    eventually("it is lost", Duration::from_secs(10), || is_lost(&version(&server, 1)));
    drop(input);
}
