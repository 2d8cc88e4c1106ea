//! The streams of every command may be closed or full: it says so or goes on, and never panics.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Call, Server, process, server};
use crate::{alone, eventually};

/// The state of standard output and standard error.
const STREAMS: [(&str, &str); 6] = [
    ("stdout closed", ">&-"),
    ("stderr closed", "2>&-"),
    ("both closed", ">&- 2>&-"),
    ("stdout full", ">/dev/full"),
    ("stderr full", "2>/dev/full"),
    ("both full", ">/dev/full 2>/dev/full"),
];
/// The exit status of a command whose reader is gone, as of one that SIGPIPE ended.
const CLOSED: i32 = 141;

pub(crate) fn program() -> String {
    std::env::var("COFFERDAM_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_cofferdam").to_owned())
}

/// A command in a shell, so that a stream can be closed before it starts.
fn command(words: &[String], redirection: &str, url: &str, key: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirection}")).arg(program()).args(words);
    shell.env("COFFERDAM_KERNELS", server::kernels()).env("COFFERDAM_CACHE_DIR", server::cache());
    shell.env("COFFERDAM_API_KEY", key).stdin(Stdio::null());
    if words.first().is_none_or(|word| word != "run") {
        shell.env("COFFERDAM_URL", url);
    }
    shell
}

/// All commands, as their help lists them.
fn commands() -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = vec![vec![]];
    let mut at = 0;
    while let Some(words) = found.get(at).cloned() {
        let help = Command::new(program()).args(&words).arg("--help").output().unwrap();
        assert!(help.status.success(), "{words:?}");
        let text = String::from_utf8(help.stdout).unwrap();
        let list = text.split_once("Commands:\n").map(|(_, list)| list).unwrap_or_default();
        let names = list.lines().take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            found.push([words.clone(), vec![name.to_owned()]].concat());
        }
        at += 1;
    }
    found
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn no_command_panics_when_a_stream_is_closed_or_full() {
    let _one = alone();
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let snippet = folder.path().join("a.py");
    std::fs::write(&snippet, "import sys\nprint('x' * 100)\nprint('e', file=sys.stderr)").unwrap();
    let snippet = snippet.to_str().unwrap();
    let walked = commands();
    assert!(walked.len() > 25, "{walked:?}");
    let mut calls: Vec<Vec<String>> = walked.iter().map(|one| [one.clone(), words(&["--help"])].concat()).collect();
    // `serve` has a test of its own.
    calls.extend(walked.into_iter().filter(|one| one.first().is_none_or(|word| word != "serve")));
    for call in [
        &["run", snippet][..],
        &["run", "--json", snippet],
        &["run", "none.py"],
        &["tool", "list", "--json"],
        &["tool", "show", "none"],
        &["secret", "list"],
        &["agent", "list", "--json"],
        &["agent", "show", "none"],
        &["deploy", "none", "--agent", "none"],
        &["image", "inspect", "none.tar"],
        &["--version"],
        &["internal", "worker"],
    ] {
        calls.push(words(call));
    }
    let url = format!("http://{}", server.address);
    for call in calls {
        let usual = command(&call, "", &url, &server.key).output().unwrap();
        let usual_status = usual.status.code().unwrap_or_else(|| panic!("{call:?}: {}", usual.status));
        let judge = |name: &str, output: &std::process::Output, lost: bool| {
            let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
            let status = output.status.code().unwrap_or_else(|| panic!("{call:?}, {name}: {}", output.status));
            assert!(!text.contains("panicked") && status != 101, "{call:?}, {name}: {status} {text}");
            // Output that is lost is a failure.
            let told = if lost { status != 0 && (status < 128 || status == CLOSED) } else { status == usual_status };
            assert!(told, "{call:?}, {name}: {status}, otherwise {usual_status}: {text}");
        };
        for (name, redirection) in STREAMS {
            let output = command(&call, redirection, &url, &server.key).output().unwrap();
            // What the code itself writes to standard error is output as well.
            let code_lost = redirection.contains("2>/dev/full") && call.len() == 2 && call[1] == snippet;
            let lost = code_lost
                || (redirection.contains(">/dev/full") && !redirection.starts_with('2') && !usual.stdout.is_empty());
            judge(name, &output, lost);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&call, "", &url, &server.key).stdout(writer).output().unwrap();
        judge("no reader", &output, !usual.stdout.is_empty());
    }
}

#[test]
fn a_server_whose_streams_are_closed_or_full_serves() {
    let _one = alone();
    for (name, redirection) in STREAMS {
        let folder = tempfile::tempdir().unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let key = "a-key-for-full-streams-0123456789";
        let arguments = ["serve", "--log-format", "json", "--listen", &address.to_string(), "--data-dir"];
        let arguments = [words(&arguments), vec![folder.path().display().to_string()]].concat();
        let mut shell = command(&arguments, redirection, "", key);
        shell.env("COFFERDAM_LOG", "debug").stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = shell.spawn().unwrap();
        let run = || {
            let body = serde_json::json!({"language": "python", "code": "print(6 * 7)"});
            Call::new("POST", "/v1/runs").header("x-api-key", key).json(&body).send_to(address)
        };
        eventually(name, Duration::from_secs(60), || run().is_ok_and(|answer| answer.status == 200));
        for _ in 0..20 {
            assert_eq!(run().unwrap().json()["stdout"], "42\n", "{name}");
        }
        process::signal(child.id(), Signal::TERM);
        let status = child.wait().unwrap();
        assert!(status.success(), "{name}: {status}");
    }
}

/// Sends SIGINT while a command compiles the kernels, to the command alone and to it with its children, as a terminal does.
#[test]
fn ctrl_c_while_the_kernels_compile_is_a_cancelled_command() {
    let _one = alone();
    for to_all in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Command::new(program());
        run.args(["run", "-"]).stdin(File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap());
        run.env("COFFERDAM_KERNELS", server::kernels()).env("COFFERDAM_CACHE_DIR", folder.path().join("cache"));
        run.env("TMPDIR", folder.path()).env_remove("COFFERDAM_URL").process_group(0);
        let child = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        eventually("compiling", Duration::from_secs(20), || process::child_with(pid, "prepare").is_some());
        std::thread::sleep(Duration::from_millis(500));
        let started = Instant::now();
        match to_all {
            true => {
                let group = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                rustix::process::kill_process_group(group, Signal::INT).unwrap();
            }
            false => process::signal(pid, Signal::INT),
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("cancelled") && started.elapsed() < Duration::from_secs(6), "{said}");
        let left = std::fs::read_dir(folder.path()).unwrap().filter_map(|one| Some(one.ok()?.file_name()));
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("cofferdam-run-")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
