//! State on disk: it survives a kill of everything, is checked when it is loaded, and is deleted when it expires.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Call, Server, Setup, process};
use crate::{alone, eventually};

fn killed(mut server: Server) -> Arc<TempDir> {
    server.signal(Signal::KILL);
    server.wait();
    Arc::clone(&server.folder)
}

fn suspended(server: &Server, language: &str, code: &str) -> String {
    let id = server.session(json!({"language": language}));
    server.in_session(&id, code);
    server.post(&format!("/v1/sessions/{id}/suspend"), &json!({})).expect(200);
    id
}

/// The file or folder `name` below the folder, at whatever depth.
fn find(folder: &Path, name: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.filter_map(Result::ok) {
        let path = entry.path();
        if name(&entry.file_name().to_string_lossy()) {
            return Some(path);
        }
        if path.is_dir()
            && let Some(found) = find(&path, name)
        {
            return Some(found);
        }
    }
    None
}

#[test]
fn suspended_sessions_and_snapshots_survive_a_kill_of_everything() {
    let _one = alone();
    let server = Server::start();
    let python = suspended(&server, "python", "import pandas as pd\nframe = pd.DataFrame({'n': [1, 2, 39]})");
    let javascript = suspended(&server, "javascript", "let n = 41; const next = () => ++n;");
    server.post(&format!("/v1/sessions/{python}/snapshots"), &json!({"name": "kept"})).expect(201);
    let server = Server::in_folder(killed(server), Setup::default());
    assert_eq!(server.get(&format!("/v1/sessions/{python}")).expect(200)["state"], "suspended");
    assert_eq!(server.in_session(&python, "print(frame.n.sum())"), "42\n");
    assert_eq!(server.in_session(&javascript, "console.log(next())"), "42\n");
    let new = server.session(json!({"snapshot": "kept"}));
    assert_eq!(server.in_session(&new, "print(len(frame))"), "3\n");
}

#[test]
fn a_resumed_session_is_on_disk_until_it_changes() {
    let _one = alone();
    let server = Server::start();
    let resumed = |code: &str| {
        let id = suspended(&server, "python", "x = 42");
        server.post(&format!("/v1/sessions/{id}/resume"), &json!({})).expect(200);
        if !code.is_empty() {
            server.in_session(&id, code);
        }
        id
    };
    let (same, again, changed) = (resumed(""), resumed(""), resumed("x += 1"));
    server.post(&format!("/v1/sessions/{again}/suspend"), &json!({})).expect(200);
    let server = Server::in_folder(killed(server), Setup::default());
    for id in [&same, &again] {
        assert_eq!(server.in_session(id, "print(x)"), "42\n");
    }
    // Better no session than that of before its last run.
    server.run(json!({"session": changed, "code": "print(x)"})).problem(410, "session-lost");
}

#[test]
fn an_idle_session_is_suspended_by_itself_and_comes_back_unnoticed() {
    let _one = alone();
    let server = Server::with(Setup::default().env("COFFERDAM_IDLE_SUSPEND_S", 1));
    for (language, make, look) in [("python", "x = 42", "print(x)"), ("javascript", "var x = 42", "console.log(x)")] {
        let id = server.session(json!({"language": language}));
        server.in_session(&id, make);
        eventually("it is suspended", Duration::from_secs(8), || {
            server.get(&format!("/v1/sessions/{id}")).expect(200)["state"] == "suspended"
        });
        assert_eq!(server.in_session(&id, look), "42\n");
    }
}

#[test]
fn sessions_beyond_the_allowed_number_are_refused() {
    let _one = alone();
    let setup = Setup::default().env("COFFERDAM_MAX_SESSIONS_PER_KEY", 2).env("COFFERDAM_MAX_SESSIONS", 3);
    let server = Server::with(setup);
    let make = |key: &str| {
        let call = Call::new("POST", "/v1/sessions").json(&json!({"language": "javascript"}));
        server.send(call.header("x-api-key", key))
    };
    let id = make(&server.key).expect(201)["id"].as_str().unwrap().to_owned();
    make(&server.key).expect(201);
    make(&server.key).problem(429, "overloaded");
    server.post(&format!("/v1/sessions/{id}/fork"), &json!({"count": 1})).problem(429, "overloaded");
    let other = server.new_key(&["run"]);
    make(&other).expect(201);
    make(&other).problem(429, "overloaded");
    assert_eq!(server.send(Call::new("DELETE", format!("/v1/sessions/{id}"))).status, 204);
    make(&server.key).expect(201);
}

#[test]
fn more_live_sessions_than_the_worker_holds_are_suspended_and_all_work() {
    let _one = alone();
    let server = Server::with(Setup::default().config("[worker]\nmax_live_sessions = 4\n"));
    let ids: Vec<String> = (0..12).map(|_| server.session(json!({"language": "javascript"}))).collect();
    for (n, id) in ids.iter().enumerate() {
        server.in_session(id, &format!("var n = {n}"));
    }
    eventually("few are live", Duration::from_secs(5), || {
        server.metric("cofferdam_worker_sessions_live").is_some_and(|live| live <= 4.0)
    });
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(server.in_session(id, "console.log(n)"), format!("{n}\n"));
    }
}

#[test]
fn a_session_of_another_build_of_the_kernel_is_refused_with_a_clear_word() {
    let _one = alone();
    let server = Server::start();
    let id = suspended(&server, "python", "x = 1");
    let folder = killed(server);
    let meta = find(&folder.path().join("data"), &|name| name == "meta.json").expect("a suspended session");
    let text = fs::read_to_string(&meta).unwrap();
    // As a version wrote it that knew no checksums.
    let (json, _) = text.split_once("\ncrc32 ").expect("a checksum after the description");
    let mut about: serde_json::Value = serde_json::from_str(json).unwrap();
    let digest = about["image_digest"].as_str().unwrap().len();
    about["image_digest"] = json!("0".repeat(digest));
    about["sums"] = serde_json::Value::Null;
    fs::write(&meta, about.to_string()).unwrap();
    let server = Server::in_folder(folder, Setup::default());
    server.run(json!({"session": id, "code": "print(x)"})).problem(409, "kernel-changed");
    assert_eq!(server.python("print('well')"), "well\n");
    assert_eq!(server.send(Call::new("DELETE", format!("/v1/sessions/{id}"))).status, 204);
}

#[test]
fn a_damaged_state_is_refused_and_harms_nobody() {
    let _one = alone();
    let server = Server::start();
    let id = suspended(&server, "python", "x = 1");
    let folder = killed(server);
    let data = folder.path().join("data");
    let memory = find(&data, &|name| name.ends_with(".memory")).expect("its memory");
    let length = fs::metadata(&memory).unwrap().len();
    fs::OpenOptions::new().write(true).open(&memory).unwrap().set_len(length / 2).unwrap();
    let server = Server::in_folder(folder, Setup::default());
    let worker = server.worker_pid();
    let answer = server.run(json!({"session": id, "code": "print(x)"}));
    assert!(answer.status >= 400, "{}", answer.text());
    let detail = answer.problem(410, "session-lost");
    assert!(detail.contains("damaged"), "{detail}");
    assert!(find(&data, &|name| name.ends_with(".damaged")).is_some(), "it is kept for the operator");
    assert_eq!(server.python("print('well')"), "well\n");
    assert_eq!(server.worker_pid(), worker);
}

/// The check runs beside the laying out of the memory, and its word counts.
#[test]
fn a_flipped_bit_in_much_memory_is_found_before_the_guest_lives() {
    let _one = alone();
    let server = Server::start();
    let id = suspended(&server, "python", "import os\nblob = os.urandom(10_000_000)");
    let folder = killed(server);
    let memory = find(&folder.path().join("data"), &|name| name.ends_with(".memory")).expect("its memory");
    let mut bytes = fs::read(&memory).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&memory, bytes).unwrap();
    let server = Server::in_folder(folder, Setup::default());
    let detail = server.post(&format!("/v1/sessions/{id}/resume"), &json!({})).problem(410, "session-lost");
    assert!(detail.contains("memory"), "{detail}");
    server.run(json!({"session": id, "code": "print(len(blob))"})).problem(410, "session-lost");
    assert_eq!(server.python("print('well')"), "well\n");
}

#[test]
fn without_open_files_a_session_is_not_suspended_and_lives_on() {
    let _one = alone();
    let server = Server::start();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "x = 42");
    let worker = server.worker_pid().unwrap();
    // A limit may be changed by a process of the same user.
    let id_of = |line| process::status(worker, line).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let (user, group) = (id_of("Uid"), id_of("Gid"));
    let limit = |soft: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &worker.to_string(), &format!("--nofile={soft}:")]);
        assert!(command.uid(user).gid(group).status().unwrap().success());
    };
    let usual = process::open_files_limit(worker);
    limit("4");
    let answer = server.post(&format!("/v1/sessions/{id}/suspend"), &json!({}));
    limit(&usual);
    let detail = answer.problem(507, "storage-full");
    assert!(detail.contains("open files"), "{detail}");
    assert_eq!(server.in_session(&id, "print(x)"), "42\n");
    server.post(&format!("/v1/sessions/{id}/suspend"), &json!({})).expect(200);
    assert_eq!(server.in_session(&id, "print(x)"), "42\n");
}

#[test]
fn a_damaged_snapshot_is_said_to_be_lost_each_time() {
    let _one = alone();
    let server = Server::start();
    let id = server.session(json!({"language": "python"}));
    server.post(&format!("/v1/sessions/{id}/snapshots"), &json!({"name": "base"})).expect(201);
    let folder = killed(server);
    let data = folder.path().join("data");
    let files = find(&data, &|name| name.ends_with(".files")).expect("the snapshot's files");
    let mut bytes = fs::read(&files).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&files, bytes).unwrap();
    let server = Server::in_folder(folder, Setup::default());
    for _ in 0..2 {
        server.post("/v1/sessions", &json!({"snapshot": "base"})).problem(410, "session-lost");
    }
    assert_eq!(server.send(Call::new("DELETE", "/v1/snapshots/base")).status, 204);
    assert_eq!(server.python("print('well')"), "well\n");
}
