//! Settings from files and flags, and environments as text.

use clap::Parser;
use serde_json::json;

use super::args::Command;
use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn settings(args: &[&str]) -> anyhow::Result<Value> {
    let line = ["environment", "create", "prod"].iter().chain(args);
    let Command::Create(create) = Line::try_parse_from(line)?.command else { panic!("not create") };
    create::settings(&create).map(Value::Object)
}

#[test]
fn flags_override_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.json");
    let whole = json!({"images": "old.example/x", "kind": "cloud", "resources": {"cpu": "1", "memory": "1Gi"}});
    std::fs::write(&file, whole.to_string()).unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, "clusters: []").unwrap();
    let (file, kubeconfig) = (file.to_str().unwrap(), kubeconfig.to_str().unwrap());
    let made = settings(&[
        "--settings",
        file,
        "--images",
        "r.example/agents",
        "--memory",
        "512Mi",
        "--kubeconfig",
        kubeconfig,
        "--architecture",
        "arm64",
        "--image-pull-secret",
        "pull",
        "--env",
        "REGION=eu",
        "--allow-label",
        "team",
        "--allow-label",
        "example.com/*",
        "--plain-http",
    ]);
    assert_eq!(
        made.unwrap(),
        json!({
            "images": "r.example/agents", "kind": "cloud", "resources": {"cpu": "1", "memory": "512Mi"},
            "kubeconfig": "Y2x1c3RlcnM6IFtd", "architecture": "arm64", "image_pull_secrets": ["pull"],
            "env": {"REGION": "eu"}, "pods": {"labels": ["team", "example.com/*"]}, "plain_http": true,
        })
    );
    assert_eq!(settings(&[]).unwrap(), json!({}));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    for (args, part) in [
        (&["--settings", "-", "--kubeconfig", "-"][..], "standard input"),
        (&["--username", "robot"], "--password-stdin"),
        (&["--architecture", "x86"], "x86"),
        (&["--kubeconfig", "/no/such/file"], "/no/such/file"),
        (&["--env", "hush"], "NAME=VALUE"),
    ] {
        let said = format!("{:#}", settings(args).unwrap_err());
        assert!(said.contains(part) && !said.contains("hush"), "{args:?}: {said}");
    }
}

#[test]
fn a_wrong_setting_of_a_file_is_told_with_its_line_and_the_closest_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.json");
    for (text, part) in [
        (
            "{\"images\": \"r.example/x\",\n \"plain_htp\": true}",
            "line 2: plain_htp: there is no such field; did you mean `plain_http`?",
        ),
        ("{\"pods\": {\"label\": [\"a\"]}}", "did you mean `labels`?"),
        ("{\"ecr\": 1}", "line 1: ecr: expected true or false"),
        ("[]", "expected an object"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = settings(&["--settings", file.to_str().unwrap()]).unwrap_err().to_string();
        assert!(said.contains("settings.json, ") && said.contains(part), "{text}: {said}");
    }
}

#[test]
fn a_kubeconfig_that_trusts_anyone_is_told() {
    for (kubeconfig, told) in [
        ("clusters:\n- cluster:\n    insecure-skip-tls-verify: true\n", true),
        ("{\"clusters\": [{\"cluster\": {\"insecure-skip-tls-verify\": true}}]}", true),
        ("clusters:\n- cluster:\n    insecure-skip-tls-verify: false\n", false),
        ("clusters: []", false),
    ] {
        assert_eq!(create::trusts_anyone(kubeconfig.as_bytes()), told, "{kubeconfig}");
    }
}

#[test]
fn an_environment_is_shown_setting_by_setting() {
    let environment = json!({"name": "prod", "kind": "self_deployed", "images": "r.example/x", "has_cluster": true,
        "has_password": false, "ca": "-----BEGIN\nx\n", "resources": {"memory": "1Gi", "cpu": null}, "env": ["A", "B"],
        "plain_http": false, "pods": {"labels": ["team", "a/*"]}, "built_in": false, "namespace": "evil\u{1b}[2J"});
    let shown = show::page(&environment).as_str().to_owned();
    for part in [
        "cluster               set",
        "password              none",
        "ca                    2 lines",
        "memory=1Gi",
        "env                   A B",
        "labels=team,a/*",
        "evil\\u{1b}[2J",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    assert!(!shown.contains("plain_http") && !shown.contains("cpu"), "{shown}");
    assert_eq!(show::row(&environment)[..2], ["prod", "yes"]);
    // One that does not open is listed with the others, and says so.
    for (state, shown) in [("usable", "none"), ("sealed", "sealed"), ("unreadable", "unreadable")] {
        let environment = json!({"name": "b", "state": state, "has_cluster": false});
        assert_eq!(show::row(&environment)[..2], ["b", shown]);
    }
    let checks = json!({"checks": [{"about": "jobs", "outcome": "bad", "detail": "The credentials may not list."},
        {"about": "registry", "outcome": "good", "detail": "It takes uploads."}]});
    assert_eq!(
        show::checks(&checks),
        ["bad      jobs      The credentials may not list.", "good     registry  It takes uploads."]
    );
}
