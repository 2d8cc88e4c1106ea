//! Changes around a server: a replaced program, a deleted cache, folders left by killed processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::server::{cache, kernels};
use crate::support::{Server, Setup, process};
use crate::{alone, eventually};

fn works(server: &Server) -> bool {
    server.run(json!({"language": "javascript", "code": "console.log(1)"})).status == 200
}

#[test]
fn a_program_that_was_put_in_its_place_does_not_become_the_worker() {
    let _one = alone();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cofferdam");
    fs::copy(env!("CARGO_BIN_EXE_cofferdam"), &program).unwrap();
    let server = Server::with(Setup { program: Some(program.clone()), ..Setup::default() });
    let other = folder.path().join("other");
    fs::write(&other, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&other, &program).unwrap();
    process::signal(server.worker_pid().unwrap(), Signal::KILL);
    let took = eventually("a run after the kill", Duration::from_secs(10), || works(&server));
    assert!(took < Duration::from_secs(2), "back after {took:?}");
    assert_eq!(process::status(server.worker_pid().unwrap(), "Name").as_deref(), Some("cofferdam"));
}

#[test]
fn a_cache_that_is_gone_is_made_again_before_the_next_worker() {
    let _one = alone();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // The code stays, as compiling takes a minute; what names the images goes.
    let files = fs::read_dir(cache()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    for entry in files {
        let target = folder.path().join(entry.file_name());
        fs::hard_link(entry.path(), &target).or_else(|_| fs::copy(entry.path(), &target).map(drop)).unwrap();
    }
    let server = Server::with(Setup::default().env("COFFERDAM_CACHE_DIR", folder.path().display()));
    for entry in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|ending| ending == "json") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    process::signal(server.worker_pid().unwrap(), Signal::KILL);
    let started = Instant::now();
    thread::sleep(Duration::from_millis(200));
    eventually("a run with the images made again", Duration::from_secs(120), || works(&server));
    eprintln!("made again in {:?}", started.elapsed());
    let log = server.log();
    assert!(log.contains("preparing them again"), "{log}");
    assert_eq!(server.python("print(42)"), "42\n");
    assert_eq!(server.metric("cofferdam_api_worker_restarts_total"), Some(2.0), "one death, one that was unprepared");
}

#[test]
fn a_killed_server_leaves_nothing_in_the_temporary_folder_and_its_folder_serves_again() {
    let _one = alone();
    let mut server = Server::start();
    assert_eq!(process::entries(&server.folder.path().join("tmp")), 0);
    assert!(server.data().join("run").is_dir());
    server.signal(Signal::KILL);
    server.wait();
    assert_eq!(process::entries(&server.folder.path().join("tmp")), 0);
    let again = Server::in_folder(server.folder.clone(), Setup::default());
    assert_eq!(again.python("print('well')"), "well\n");
    let folder = again.stop();
    assert_eq!(process::entries(&folder.path().join("data/run")), 0, "an end in order leaves no socket");
}

/// `cofferdam run` without a server, in a folder of its own.
fn run(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.arg("run").args(args).current_dir(folder).env_clear().env("TMPDIR", folder.join("tmp"));
    command.env("HOME", folder).env("COFFERDAM_KERNELS", kernels()).env("COFFERDAM_CACHE_DIR", cache());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_command_says_what_is_wrong_with_it_and_ends_with_the_status_that_its_help_tells() {
    let _one = alone();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tmp")).unwrap();
    fs::write(folder.path().join("a.py"), "raise SystemExit(7)").unwrap();
    fs::write(folder.path().join("raises.py"), "1 / 0").unwrap();
    fs::write(folder.path().join("large.bin"), vec![255; 40 << 20]).unwrap();
    fs::write(folder.path().join("larger-than-it-looks.bin"), vec![255; 28 << 20]).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (args, status, parts) in [
        (&["a.py"][..], 7, &[][..]),
        (&["raises.py"], 1, &["ZeroDivisionError"]),
        (&[], 2, &["a file, or `-` for standard input", "--help"]),
        (&["--no-such-flag"], 2, &["--help"]),
        (&["a.py", "--file", "large.bin"], 126, &["--file large.bin", "32 MiB", "--session ID"]),
        (&["a.py", "--file", "larger-than-it-looks.bin"], 126, &["37.3 MiB", "a third more"]),
        (&["a.py", "--file", "/dev/zero"], 126, &["--file /dev/zero", "32 MiB"]),
        (&["none.py"], 126, &["none.py", "No such file"]),
        (&["a.py", "--kernels", "empty"], 126, &["no kernels in", "make kernels"]),
        (&["a.py", "--kernels", "none"], 126, &["no kernels' folder none", "make kernels"]),
    ] {
        let output = run(folder.path(), args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{args:?}: no {part:?} in {text}");
        }
        assert_eq!(process::entries(&folder.path().join("tmp")), 0, "{args:?} left something");
    }
}

#[test]
fn a_server_without_kernels_says_so_and_does_not_greet() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (kernels, part) in [("empty", "no kernels in"), ("none", "no kernels' folder")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--kernels", kernels]);
        let output = command.current_dir(folder.path()).env_remove("COFFERDAM_KERNELS").output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && out.is_empty(), "{out}{err}");
        assert!(err.contains(part) && err.contains("make kernels"), "{err}");
        assert!(!folder.path().join("data").exists(), "nothing was begun");
    }
}
