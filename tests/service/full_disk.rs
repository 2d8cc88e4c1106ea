//! A disk without room: each call that must store something is refused with its reason, nothing that was acknowledged is
//! lost, and all works again once there is room.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;

use crate::alone;
use crate::support::{Call, Server, Setup};
use crate::tools::TOOL;

/// The bytes of the server's disk.
const DISK: &str = "32m";

/// A command that gives the server a small disk of its own, in a mount namespace, and then becomes the server. `None` if
/// this machine or user does not allow it.
fn on_a_small_disk(folder: &Path) -> Option<PathBuf> {
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    let mount = format!("mount -t tmpfs -o size={DISK},mode=700 tmpfs '{}'", data.display());
    let may = Command::new("unshare").args(["--mount", "sh", "-c", &mount]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        return None;
    }
    let program = std::env::var("COFFERDAM_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_cofferdam").into());
    let script =
        format!("#!/bin/sh\nexec unshare --mount sh -c \"{mount} && exec '{program}' \\\"\\$@\\\"\" sh \"$@\"\n");
    let path = folder.join("on-a-small-disk");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    Some(path)
}

/// Writes a file until the disk has no room left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for piece in [64 << 10, 512, 1] {
        while file.write_all(&vec![7; piece]).is_ok() {}
    }
}

#[test]
fn a_full_disk_refuses_what_must_be_stored_and_loses_nothing() {
    let _one = alone();
    let folder = Arc::new(tempfile::Builder::new().prefix("cofferdam-test-").tempdir().unwrap());
    let Some(program) = on_a_small_disk(folder.path()) else {
        println!("SKIPPED: a mount namespace with a file system of its own cannot be made here; root can make one");
        return;
    };
    let server = Server::in_folder(folder, Setup { program: Some(program), ..Setup::default() });
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "x = 42");
    // The disk is seen through the server's own namespace only.
    let data = server.data();
    let inside = Path::new("/proc").join(server.pid().to_string()).join("root");
    let filler = inside.join(data.strip_prefix("/").unwrap()).join("filler");
    fill(&filler);

    let component = wat::parse_str(TOOL).unwrap();
    let key = json!({"scopes": ["run"], "name": "one more"});
    let writes = [
        Call::new("POST", "/v1/sessions").json(&json!({"language": "python"})),
        Call::new("PUT", "/v1/tools/calc").body(component, "application/wasm"),
        Call::new("POST", "/v1/keys").json(&key),
        Call::new("POST", format!("/v1/sessions/{id}/suspend")).json(&json!({})),
    ];
    for call in &writes {
        let detail = server.send(call.clone()).problem(507, "storage-full");
        assert!(detail.contains("full"), "{} {}: {detail}", call.method, call.path);
    }
    assert_eq!(server.python("print('runs need no disk')"), "runs need no disk\n");
    assert_eq!(server.in_session(&id, "print(x)"), "42\n");
    assert!(server.log().contains("no room left"), "the log names the database: {}", server.log());

    fs::remove_file(&filler).unwrap();
    for call in &writes[1..] {
        let answer = server.send(call.clone());
        assert!(answer.status < 300, "{} {}: {}", call.method, call.path, answer.text());
    }
    assert_eq!(server.in_session(&id, "print(x)"), "42\n");
}
