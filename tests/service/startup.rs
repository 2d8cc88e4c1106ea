//! A start that cannot succeed ends at once, with one sentence that has the place, the fault and the remedy.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::streams::program;
use crate::support::{Call, Server, Setup, server};
use crate::{alone, eventually};

const KEY: &str = "a-key-for-starts-that-fail-0123456789";
/// The longest time until a start has failed.
const MAX_FAILING: Duration = Duration::from_secs(4);

/// The standard error of a `serve` that must fail.
fn fails(data: &Path, env: &[(&str, &str)]) -> String {
    fails_as(&[], data, env)
}

/// The same, with these arguments.
fn fails_as(args: &[&str], data: &Path, env: &[(&str, &str)]) -> String {
    let mut serve = Command::new(program());
    serve.args(["serve", "--log-format", "text", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(args);
    serve.env("COFFERDAM_KERNELS", server::kernels()).env("COFFERDAM_CACHE_DIR", server::cache());
    let config = data.with_file_name("config.toml");
    if config.is_file() {
        serve.arg("--config").arg(config);
    }
    serve.envs(env.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let output = serve.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(started.elapsed() < MAX_FAILING, "{:?}: {said}", started.elapsed());
    said
}

#[test]
fn an_ai_gateway_makes_and_locks_no_data_folder() {
    let _one = alone();
    let folder = tempfile::tempdir().unwrap();
    let key = "0123456789abcdef0a1b2c3d4e5f6071".repeat(2);
    // That is no address: it comes as far as the database.
    let env = [("DATABASE_URL", "postgres://h:none/x"), ("COFFERDAM_ENCRYPTION_KEY", key.as_str())];
    for role in ["ai-gateway", "aws-operator"] {
        let data = folder.path().join(role);
        let said = fails_as(&["--role", role], &data, &env);
        assert!(said.contains("DATABASE_URL") && !data.exists(), "{role}: {said}");
    }
}

#[test]
fn what_keeps_a_server_from_starting_is_told_in_a_sentence() {
    let _one = alone();
    let write = |path: &Path, text: &str, mode: u32| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let hex = "0123456789abcdef".repeat(4);
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Box<dyn Fn(&Path) + 'a>, &'a [&'a str]);
    let key = || vec![("COFFERDAM_API_KEY", KEY)];
    let configured = |text: &'static str| -> Box<dyn Fn(&Path)> {
        Box::new(move |data| fs::write(data.with_file_name("config.toml"), text).unwrap())
    };
    let cases: Vec<Case<'_>> = vec![
        ("short key", vec![("COFFERDAM_API_KEY", "a")], Box::new(|_| {}), &["COFFERDAM_API_KEY", "openssl rand"]),
        (
            "short token",
            vec![("COFFERDAM_API_KEY", KEY), ("COFFERDAM_WORKER_TOKEN", "secret")],
            Box::new(|_| {}),
            &["COFFERDAM_WORKER_TOKEN", "openssl rand"],
        ),
        (
            "guessable encryption key",
            vec![
                ("COFFERDAM_API_KEY", KEY),
                ("COFFERDAM_ENCRYPTION_KEY", "0000000000000000000000000000000000000000000000000000000000000000"),
            ],
            Box::new(|_| {}),
            &["COFFERDAM_ENCRYPTION_KEY", "openssl rand"],
        ),
        (
            "key of others",
            key(),
            Box::new(|data| write(&data.join("encryption.key"), &hex, 0o666)),
            &["encryption.key", "0666", "chmod 600"],
        ),
        (
            "empty key",
            key(),
            Box::new(|data| write(&data.join("encryption.key"), "", 0o600)),
            &["encryption.key", "is empty", "restore"],
        ),
        (
            "half a key",
            key(),
            Box::new(|data| write(&data.join("encryption.key"), &hex[..32], 0o600)),
            &["encryption.key", "64 hex digits", "restore"],
        ),
        (
            "API key of others",
            vec![],
            Box::new(|data| write(&data.join("api-key"), &hex, 0o644)),
            &["api-key", "0644", "chmod 600"],
        ),
        (
            "short API key",
            vec![],
            Box::new(|data| write(&data.join("api-key"), "abc\n", 0o600)),
            &["api-key", "3 characters", "delete the file"],
        ),
        (
            "no database",
            key(),
            Box::new(|data| write(&data.join("cofferdam.db"), &"x".repeat(9_000), 0o600)),
            &["cofferdam.db", "not a SQLite database"],
        ),
        (
            "a folder",
            key(),
            Box::new(|data| fs::create_dir(data.join("cofferdam.db")).unwrap()),
            &["cofferdam.db", "is a folder"],
        ),
        (
            "a file",
            key(),
            Box::new(|data| {
                fs::remove_dir(data).unwrap();
                write(data, "x", 0o600);
            }),
            &["is a file", "--data-dir"],
        ),
        (
            "no such level",
            vec![("COFFERDAM_API_KEY", KEY), ("COFFERDAM_LOG", "bogus")],
            Box::new(|_| {}),
            &["COFFERDAM_LOG", "bogus", "debug"],
        ),
        ("no runs", key(), configured("[worker]\nmax_runs = 0\n"), &["max_runs", "[worker]", "at least 1"]),
        ("no calls", key(), configured("[tool_worker]\nmax_calls = 0\n"), &["max_calls", "[tool_worker]"]),
        ("set elsewhere", key(), configured("[worker]\nmax_sessions = 3\n"), &["max_sessions", "[sessions]"]),
        ("nothing lasts", key(), configured("[limits.default]\nwall_ms = 0\n"), &["WALL_MS", "configuration file"]),
        ("misspelt", key(), configured("[worker_]\n"), &["config.toml", "worker_"]),
    ];
    for (name, env, prepare, parts) in cases {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        prepare(&data);
        let said = fails(&data, &env);
        for part in parts {
            assert!(said.contains(part), "{name}: {part:?} is not in {said:?}");
        }
        assert!(!said.contains(&hex[..32]), "{name}: {said}");
    }
}

#[test]
fn a_database_that_breaks_while_it_is_used_is_named_in_the_log() {
    let _one = alone();
    // After a restart, SQLite's cache has only the tables that the start reads.
    let server = Server::in_folder(Server::start().stop(), Setup::default());
    for name in ["cofferdam.db", "cofferdam.db-wal"] {
        let path = server.data().join(name);
        let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { continue };
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![b'x'; length], 0).unwrap();
    }
    let answers: Vec<u16> = ["/v1/secrets", "/v1/snapshots", "/v1/agents"].map(|path| server.get(path).status).into();
    assert!(answers.contains(&500), "{answers:?}");
    let log = server.log();
    let told = log.lines().any(|line| line.contains("ERROR") && line.contains("data/cofferdam.db is "));
    assert!(told, "{log}");
}

#[test]
fn a_replaced_key_is_unknown_from_the_first_request_on() {
    let _one = alone();
    let server = Server::start();
    let old = server.key.clone();
    let folder = server.stop();
    let server = Server::in_folder(folder, Setup::default().env("COFFERDAM_API_KEY", KEY));
    let with = |key: &str| {
        let call = Call::new("POST", "/v1/keys").json(&json!({"name": "more", "scopes": ["admin"]}));
        server.send(call.header("x-api-key", key)).status
    };
    assert_eq!((with(&old), with(KEY)), (401, 201));
}

#[test]
fn every_line_of_a_log_for_machines_is_json() {
    let _one = alone();
    let server = Server::start();
    assert_eq!(server.python("print(1)"), "1\n");
    eventually("the log says ready", Duration::from_secs(10), || server.log().contains("\"ready\""));
    let log = fs::read_to_string(server.stop().path().join("log")).unwrap();
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?} in {log}");
    }
}
