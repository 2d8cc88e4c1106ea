//! A tool's own folder: a call finds the files of the calls before it, and no other tool does.

use std::thread;

use serde_json::{Value, json};

use crate::support::component::wrapped;
use crate::support::{Answer, Call, Server, Setup};

/// Functions that append a line to `/data/log` and return its size in bytes, or minus the error's number; that do so
/// and then fail in several ways; that only read.
const LOG: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (memory (export "memory") 16)
    (global $top (mut i32) (i32.const 65536))
    (data (i32.const 0) "log")
    (data (i32.const 16) "line\n")
    (data (i32.const 32) "\10\00\00\00\05\00\00\00")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $top)
        (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get 3)) (i32.const 15)) (i32.const -16))))
    (func $size (param $flags i32) (param $rights i64) (param $mode i32) (result i32) (local $error i32)
        (local.set $error (call $open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 3) (local.get $flags)
            (local.get $rights) (i64.const 0) (local.get $mode) (i32.const 48)))
        (if (local.get $error) (then (return (i32.sub (i32.const 0) (local.get $error)))))
        (if (local.get $mode) (then
            (local.set $error (call $write (i32.load (i32.const 48)) (i32.const 32) (i32.const 1) (i32.const 56)))
            (if (local.get $error) (then (return (i32.sub (i32.const 0) (local.get $error)))))))
        (drop (call $stat (i32.load (i32.const 48)) (i32.const 128)))
        (i32.load (i32.const 160)))
    (func $append (export "append") (result i32) (call $size (i32.const 1) (i64.const 0x1fffffff) (i32.const 1)))
    (func (export "look") (result i32) (call $size (i32.const 0) (i64.const 2) (i32.const 0)))
    (func (export "break") (result i32) (drop (call $append)) unreachable)
    (func (export "spin") (result i32) (drop (call $append)) (loop (br 0)) unreachable)
    (func (export "fail") (result i32) (drop (call $append)) (i32.store8 (i32.const 200) (i32.const 1)) (i32.const 200))
    (func (export "slow") (result i32) (local $left i32)
        (local.set $left (i32.const 100000000))
        (loop $more (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $append))
    (func (export "many") (result i32) (local $made i32) (local $error i32)
        (loop $more
            (i32.store8 (i32.const 300) (i32.add (i32.const 65) (local.get $made)))
            (local.set $error (call $mkdir (i32.const 4) (i32.const 300) (i32.const 1)))
            (if (i32.eqz (local.get $error)) (then
                (local.set $made (i32.add (local.get $made) (i32.const 1)))
                (br $more))))
        (local.get $made)))"#;

const WIT: &str = "package t:t; world w {
    export append: func() -> s32;
    export look: func() -> s32;
    export break: func() -> s32;
    export spin: func() -> s32;
    export fail: func() -> result<u32, u32>;
    export slow: func() -> s32;
    export many: func() -> s32;
}";

/// The error numbers of a missing file, and of a file that cannot be changed.
const NO_ENTRY: i64 = -44;
const READ_ONLY: i64 = -69;

fn deploy(server: &Server, name: &str, grants: &Value) -> Answer {
    let component = wrapped(&wat::parse_str(LOG).unwrap(), WIT).unwrap();
    let mut body = format!(
        "--x\r\ncontent-disposition: form-data; name=\"policy\"\r\n\r\n{}\r\n--x\r\ncontent-disposition: form-data; \
         name=\"component\"\r\n\r\n",
        policy(grants)
    )
    .into_bytes();
    body.extend(component);
    body.extend(b"\r\n--x--\r\n");
    server.send(Call::new("PUT", format!("/v1/tools/{name}")).body(body, "multipart/form-data; boundary=x"))
}

/// A policy with that storage and a short time limit.
fn policy(storage: &Value) -> String {
    json!({"version": "1.0", "permissions": {"storage": storage, "resources": {"limits": {"cpu_ms": 2_000}}}})
        .to_string()
}

fn writable() -> Value {
    json!({"allow": [{"uri": "fs://data", "access": ["read", "write"]}], "max_bytes": "10000", "max_files": 5})
}

fn call(server: &Server, name: &str, function: &str) -> Value {
    server.post(&format!("/v1/tools/{name}/functions/{function}"), &json!({})).expect(200)
}

fn number(server: &Server, name: &str, function: &str) -> i64 {
    let outcome = call(server, name, function);
    outcome["result"].as_i64().unwrap_or_else(|| panic!("{outcome:#}"))
}

fn delete(server: &Server, name: &str) {
    assert_eq!(server.send(Call::new("DELETE", format!("/v1/tools/{name}"))).status, 204);
}

#[test]
fn what_a_call_leaves_the_next_one_finds() {
    let server = Server::shared();
    let made = deploy(&server, "diary", &writable()).expect(201);
    assert_eq!(made["grants"]["files"], json!({"read_only": false, "max_bytes": 10_000, "max_files": 5}), "{made:#}");
    assert_eq!(number(&server, "diary", "look"), NO_ENTRY);
    for lines in 1..=3 {
        assert_eq!(number(&server, "diary", "append"), lines * 5);
    }
    // What ends badly changes nothing.
    for (function, status) in [("break", "error"), ("spin", "limit"), ("fail", "error")] {
        assert_eq!(call(&server, "diary", function)["status"], status, "{function}");
        assert_eq!(number(&server, "diary", "look"), 15, "{function}");
    }
    let shown = server.get("/v1/tools/diary").expect(200);
    assert!(shown["folder"]["bytes"].as_u64().unwrap() > 15, "{shown:#}");
    // Another version of the tool has the same folder; one that may only read sees it.
    deploy(&server, "diary", &json!({"allow": [{"uri": "fs://data", "access": ["read"]}]})).expect(200);
    assert_eq!(number(&server, "diary", "look"), 15);
    assert_eq!(number(&server, "diary", "append"), READ_ONLY);
    // One without a grant has an empty folder of the call's own, at no place of its own.
    deploy(&server, "diary", &json!({"allow": []})).expect(200);
    assert!(number(&server, "diary", "look") < 0);
    deploy(&server, "diary", &writable()).expect(200);
    assert_eq!(number(&server, "diary", "append"), 20);
    deploy(&server, "diary-two", &writable()).expect(201);
    assert_eq!(number(&server, "diary-two", "look"), NO_ENTRY, "another tool's");
    // The file, and folders up to five.
    assert_eq!(number(&server, "diary", "many"), 4);
    delete(&server, "diary");
    deploy(&server, "diary", &writable()).expect(201);
    assert_eq!(number(&server, "diary", "look"), NO_ENTRY, "it went with the tool");
    delete(&server, "diary");
    delete(&server, "diary-two");
}

#[test]
fn calls_at_once_lose_nothing() {
    let server = Server::shared();
    deploy(&server, "busy", &writable()).expect(201);
    let mut sizes: Vec<i64> = thread::scope(|scope| {
        let calls: Vec<_> = (0..12)
            .map(|n| {
                let server = &server;
                scope.spawn(move || number(server, "busy", if n % 4 == 0 { "slow" } else { "append" }))
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    sizes.sort_unstable();
    assert_eq!(sizes, (1..=12).map(|n| n * 5).collect::<Vec<i64>>());
    assert_eq!(number(&server, "busy", "look"), 60);
    delete(&server, "busy");
}

#[test]
fn a_folder_outlives_the_server() {
    let mut folder = None;
    for round in 1..=2 {
        let setup = Setup::default();
        let server = match folder.take() {
            None => Server::with(setup),
            Some(folder) => Server::in_folder(folder, setup),
        };
        if round == 1 {
            deploy(&server, "lasting", &writable()).expect(201);
        }
        assert_eq!(number(&server, "lasting", "append"), round * 5);
        folder = Some(server.stop());
    }
}

#[test]
fn the_operator_has_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, "version: '1.0'\nfiles: {allow: true, read_only: true, max_bytes: 1000}\n").unwrap();
    let server = Server::with(Setup::default().env("COFFERDAM_POLICY", path.display()));
    let made = deploy(&server, "ruled", &writable()).expect(201);
    assert_eq!(made["grants"]["files"], json!({"read_only": true, "max_bytes": 1_000, "max_files": 5}), "{made:#}");
    assert_eq!(number(&server, "ruled", "append"), READ_ONLY);
    let snippet = json!({"language": "python", "code": "1", "grants": {"files": {}}});
    let detail = server.post("/v1/runs", &snippet).problem(422, "invalid-request");
    assert!(detail.contains("grants.files is for deployed tools"), "{detail}");
}
