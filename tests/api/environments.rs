//! The commands for environments, variables and deletions against a server without a cluster.

use std::process::Command;

use serde_json::{Value, json};

use crate::agents::archive;
use crate::support::{Server, Setup};

const BINARY: &str = env!("CARGO_BIN_EXE_cofferdam");

#[test]
fn the_commands_for_environments_and_variables_do_what_they_say() {
    let server = Server::with(Setup { unready: true, ..Setup::default() }.env("KUBECONFIG", ""));
    let run = |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .env("COFFERDAM_URL", format!("http://{}", server.address))
            .stdin(std::process::Stdio::null());
        let out = command.env("COFFERDAM_API_KEY", &server.key).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap(), text)
    };
    let (code, text) = run(&[
        "environment",
        "create",
        "prod",
        "--images",
        "127.0.0.1:1/x",
        "--env",
        "TOKEN=hush-hush",
        "--allow-label",
        "team",
    ]);
    assert!(code == 0 && text.contains("cofferdam environment test prod"), "{code} {text}");
    let (code, text) = run(&["environment", "create", "prod"]);
    assert!(code == 1 && text.contains("--replace"), "{code} {text}");
    let (code, text) = run(&["env", "list"]);
    assert!(code == 0 && text.contains("local") && text.contains("127.0.0.1:1/x"), "{code} {text}");
    let (code, text) = run(&["env", "show", "prod"]);
    assert!(
        code == 0 && text.contains("TOKEN") && text.contains("labels=team") && !text.contains("hush"),
        "{code} {text}"
    );
    let (code, text) = run(&["environment", "test", "prod"]);
    assert!(code == 1 && text.contains("bad") && text.contains("--replace --kubeconfig FILE"), "{code} {text}");
    let (code, text) = run(&["environment", "create", "local"]);
    assert!(code == 1 && text.contains("the server's own settings") && !text.contains("--replace"), "{code} {text}");
    let (code, text) = run(&["environment", "create", "other", "--images", "https://r.example/x"]);
    assert!(code == 1 && text.contains("leave `https://` out"), "{code} {text}");
    let (code, text) = run(&["environment", "test", "prod", "--json"]);
    let shown: Value = serde_json::from_str(&text[text.find('{').unwrap()..=text.rfind('}').unwrap()]).unwrap();
    assert!(code == 1 && shown["ok"] == json!(false), "{code} {text}");

    assert_eq!(run(&["variable", "set", "REGION=eu", "PIN=007"]).0, 0);
    let (code, text) = run(&["variable", "list"]);
    assert!(code == 0 && text.contains("REGION") && text.contains("PIN") && !text.contains("007"), "{code} {text}");
    let (code, text) = run(&["variable", "unset", "NONE", "PIN"]);
    assert!(code == 1 && text.contains("NONE") && run(&["variable", "list"]).1.contains("PIN"), "{code} {text}");
    assert_eq!(run(&["variable", "unset", "PIN"]).0, 0);

    assert_eq!(run(&["agent", "create", "one", "--environment", "prod"]).0, 0);
    let (code, text) = run(&["agent", "start", "one", "--wait"]);
    assert!(code == 1 && text.contains("no image"), "{code} {text}");
    let (code, text) = run(&["agent", "stop", "one", "--wait"]);
    assert!(code == 0 && text.contains("nothing was deployed yet"), "{code} {text}");
    let (code, text) =
        run(&["deploy", "-", "--agent", "one", "--label", "team=search", "--env", "A=hush-hush", "--dry-run"]);
    assert!(code == 0 && text.contains("\"team\": \"search\"") && !text.contains("hush"), "{code} {text}");
    let (code, text) = run(&["deploy", "-", "--agent", "one", "--label", "app=x", "--dry-run"]);
    assert!(code == 1 && text.contains("pods.labels"), "{code} {text}");
    // The settings are judged before anything is uploaded, and no version is left behind.
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), "agent.tar", &[]);
    for (args, part) in [
        (["--label", "app=x"], "--allow-label"),
        (["--secret", "NONE"], "cofferdam secret set NONE --host HOST"),
        (["--replicas", "2"], "replicas"),
    ] {
        let line = [&["deploy", archive.to_str().unwrap(), "--agent", "one"][..], &args].concat();
        let (code, text) = run(&line);
        assert!(code == 1 && text.contains(part), "{args:?}: {code} {text}");
    }
    let (_, text) = run(&["agent", "show", "one"]);
    assert!(text.contains("nothing is deployed yet"), "{text}");
    let (code, text) = run(&["environment", "delete", "prod"]);
    assert!(
        code == 1 && text.contains("Agents use") && text.contains(": one. Delete them") && text.contains("--force"),
        "{code} {text}"
    );
    let (code, text) = run(&["environment", "delete", "prod", "--force"]);
    assert!(code == 0 && text.contains("one: nothing of it was in a cluster"), "{code} {text}");
    assert_eq!(run(&["agent", "show", "one"]).0, 1);
    let (code, text) = run(&["environment", "delete", "prod"]);
    assert!(code == 1 && text.contains("Not found"), "{code} {text}");
}
