//! `cofferdam image push` as people and CI start it: credentials in files, streams that are full, signals, terminals.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use cofferdam_testkit::{DockerRegistry, RegistrySetup};
use rustix::process::Signal;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::streams::program;
use crate::support::process;

/// `alice` with `hunter2-never-shown`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "alice:$2y$04$2DKPB97CZJEuPejMdpPPxuVlclH5OSk1zpTLql9/EwWEpmKoDSr6y\n";
const PASSWORD: &str = "hunter2-never-shown";

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar's entry.
fn entry(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0_u8; 512];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{:011o}\x0000000000000\0        0", bytes.len()).as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head.extend_from_slice(bytes);
    head.resize(head.len().next_multiple_of(512), 0);
    head
}

/// An archive of `docker save` with one layer of this size, which does not compress.
pub(crate) fn archive(size: usize) -> Vec<u8> {
    archive_of(size, "")
}

/// The same for an image with this user.
fn archive_of(size: usize, user: &str) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let noise: Vec<u8> = (0..size).map(|_| next()).collect();
    let layer = [entry("agent", &noise), vec![0; 1_024]].concat();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/agent"], "User": user},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]}});
    let config = config.to_string().into_bytes();
    let name = format!("{}.json", digest(&config));
    let manifest = json!([{"Config": name, "RepoTags": ["agent:1"], "Layers": ["a/layer.tar"]}]).to_string();
    let entries = [entry("a/layer.tar", &layer), entry(&name, &config), entry("manifest.json", manifest.as_bytes())];
    [entries.concat(), vec![0; 1_024]].concat()
}

struct Rig {
    registry: DockerRegistry,
    folder: tempfile::TempDir,
}

impl Rig {
    /// `None` if docker-registry is not installed.
    fn start(htpasswd: Option<&str>) -> Option<Self> {
        let setup = RegistrySetup { htpasswd: htpasswd.map(str::to_owned), ..RegistrySetup::default() };
        let rig = Self { registry: DockerRegistry::with(&setup)?, folder: tempfile::tempdir().unwrap() };
        rig.write("agent.tar", archive(20_000));
        Some(rig)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn reference(&self) -> String {
        format!("{}/team/agent:1", self.registry.host())
    }

    /// Our program in a shell, with nothing of this machine's settings. `redirection` may close a stream.
    fn command(&self, words: &[&str], redirection: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirection}")).arg(program()).args(words);
        shell.env_clear().env("PATH", std::env::var("PATH").unwrap_or_default()).env("HOME", self.folder.path());
        shell.env("TERM", "xterm").stdin(Stdio::null());
        shell
    }

    fn push(&self, more: &[&str], redirection: &str) -> Command {
        let (archive, reference) = (self.path("agent.tar"), self.reference());
        let words = ["image", "push", archive.to_str().unwrap(), &reference, "--plain-http"];
        self.command(&[&words[..], more].concat(), redirection)
    }

    /// A file of credentials for this registry.
    fn auths(&self, password: &str) -> String {
        let auths = json!({"auths": {self.registry.host(): {"username": "alice", "password": password}}});
        auths.to_string()
    }
}

fn said(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked") && !text.contains(PASSWORD), "{text}");
    (output.status.code().unwrap_or(-1), text)
}

#[test]
fn credentials_are_found_where_other_tools_keep_them() {
    let Some(rig) = Rig::start(Some(HTPASSWD)) else { return };
    let (right, stale) = (rig.auths(PASSWORD), rig.auths("stale"));
    let root = rig.folder.path().display().to_string();
    let runtime = format!("{root}/run");
    let own = format!("{root}/own.json");
    // The file with the right credentials, and the variables that matter.
    for (file, variables) in [
        ("own.json", &[("REGISTRY_AUTH_FILE", own.as_str())][..]),
        ("run/containers/auth.json", &[("XDG_RUNTIME_DIR", runtime.as_str())]),
        (".config/containers/auth.json", &[]),
        (".docker/config.json", &[]),
    ] {
        rig.write(".docker/config.json", &stale);
        rig.write(file, &right);
        let output = rig.push(&[], "").envs(variables.iter().copied()).output().unwrap();
        assert_eq!(said(&output).0, 0, "{file}: {output:?}");
        // The same with wrong ones: the error names the file.
        rig.write(file, &stale);
        let output = rig.push(&[], "").envs(variables.iter().copied()).output().unwrap();
        let (status, text) = said(&output);
        assert!(status == 126 && text.contains("401") && text.contains(file), "{file}: {status} {text}");
        std::fs::remove_file(rig.path(file)).unwrap();
    }
    let output = rig.push(&["--json"], "").output().unwrap();
    let (status, text) = said(&output);
    assert!(status == 126 && text.contains("No credentials") && text.contains(".docker/config.json"), "{text}");
    let problem: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problem["fault"], "credentials");
    for file in ["own.json", "none.json"] {
        rig.write("own.json", "hunter2-never-shown");
        let output = rig.push(&["--json"], "").env("REGISTRY_AUTH_FILE", rig.path(file)).output().unwrap();
        let (status, text) = said(&output);
        assert!(status == 126 && text.contains(file), "{status} {text}");
        let problem: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(problem["fault"], "credentials");
    }
    let mut named = rig.push(&[], "");
    named.env("COFFERDAM_REGISTRY_USERNAME", "alice").env("COFFERDAM_REGISTRY_PASSWORD", format!("{PASSWORD}\n"));
    assert_eq!(said(&named.output().unwrap()).0, 0);
}

#[test]
fn output_that_is_lost_is_a_failure_and_a_log_has_no_control_characters() {
    let Some(rig) = Rig::start(None) else { return };
    for more in [&[][..], &["--json"]] {
        let (status, text) = said(&rig.push(more, "> /dev/full").output().unwrap());
        assert!(status == 1 && text.contains("writing the output"), "{status} {text}");
        for redirection in ["2> /dev/full", "2>&-"] {
            let output = rig.push(more, redirection).output().unwrap();
            let shown = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && shown.contains("@sha256:"), "{redirection}: {shown}");
        }
        assert_eq!(rig.push(more, "> /dev/full 2> /dev/full").output().unwrap().status.code(), Some(1));
        let output = rig.push(more, "").output().unwrap();
        let (status, text) = said(&output);
        let whole = format!("{text}{}", String::from_utf8(output.stdout).unwrap());
        assert!(status == 0 && !whole.contains(['\r', '\u{1b}', '█', '░']), "{whole:?}");
    }
    for (redirection, status) in [("", 0), ("> /dev/full", 1), (">&-", 0)] {
        let archive = rig.path("agent.tar");
        for what in [archive.to_str().unwrap(), &rig.reference()] {
            let output = rig.command(&["image", "inspect", what, "--plain-http"], redirection).output().unwrap();
            assert_eq!(said(&output).0, status, "{what} {redirection}: {output:?}");
        }
    }
}

#[test]
fn a_cut_archive_is_the_archives_fault() {
    let Some(rig) = Rig::start(None) else { return };
    let whole = archive(20_000);
    rig.write("agent.tar", &whole[..whole.len() / 2]);
    let (status, text) = said(&rig.push(&[], "").output().unwrap());
    assert!(status == 1 && text.contains("ends in the middle"), "{status} {text}");
    let path = rig.path("agent.tar").display().to_string();
    let piped = rig.command(&["image", "push", "-", &rig.reference(), "--plain-http"], &format!("< '{path}'"));
    for mut command in [piped, rig.command(&["image", "inspect", &path], "")] {
        let (status, text) = said(&command.output().unwrap());
        assert!(status == 1, "{status} {text}");
    }
}

#[test]
fn an_image_forges_no_line_of_its_inspection() {
    let Some(rig) = Rig::start(None) else { return };
    let forged = "root\nports       22/tcp\u{202e}\u{200b}";
    rig.write("agent.tar", archive_of(20_000, forged));
    let path = rig.path("agent.tar").display().to_string();
    let output = rig.command(&["image", "inspect", &path], "").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("root\\nports") && shown.contains("\\u{202e}\\u{200b}"), "{shown}");
    assert!(!shown.lines().any(|line| line.starts_with("ports")), "{shown}");
    let output = rig.command(&["image", "inspect", &path, "--json"], "").output().unwrap();
    let exact: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(exact["images"][0]["config"]["user"], forged, "{exact}");
}

/// Feeds half of an archive to a push and keeps its standard input open.
fn half_way(mut command: Command) -> (Child, std::process::ChildStdin) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = archive(4 << 20);
    stdin.write_all(&bytes[..bytes.len() / 2]).unwrap();
    (child, stdin)
}

#[test]
fn a_push_that_is_cancelled_or_terminated_says_so() {
    let Some(rig) = Rig::start(None) else { return };
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let command = rig.command(&["image", "push", "-", &rig.reference(), "--plain-http"], "");
        let (child, _stdin) = half_way(command);
        std::thread::sleep(Duration::from_millis(500));
        process::signal(child.id(), signal);
        let output = child.wait_with_output().unwrap();
        let (code, text) = said(&output);
        assert_eq!((code, text.as_str()), (status, "cofferdam: cancelled; nothing was tagged\n"));
    }
}

/// In a terminal of `script` (util-linux), 40 columns wide.
#[test]
fn on_a_terminal_the_line_fits_and_is_erased() {
    let Some(rig) = Rig::start(None) else { return };
    let script = Command::new("script").arg("--version").output();
    let fifo = rig.path("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    if script.is_err() || made.is_err() {
        println!("SKIPPED: script and mkfifo are not installed");
        return;
    }
    for way in ["interrupted", "broken", "done"] {
        let words = format!(
            "stty cols 40 rows 24; exec {} image push {} {} --plain-http",
            program(),
            fifo.display(),
            rig.reference()
        );
        let mut command = Command::new("script");
        command
            .args(["-qefc", &words, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("CI")
            .env("HOME", rig.folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut keyboard = child.stdin.take().unwrap();
        let bytes = archive(8 << 20);
        let mut end = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        end.write_all(&bytes[..bytes.len() / 2]).unwrap();
        std::thread::sleep(Duration::from_millis(1_500));
        if way == "interrupted" {
            // As typed: the terminal echoes it behind the line.
            keyboard.write_all(b"\x03").unwrap();
        } else if way == "done" {
            end.write_all(&bytes[bytes.len() / 2..]).unwrap();
        }
        // A pipe that ends is a broken archive.
        let open = Some(end).filter(|_| way == "interrupted");
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        drop(open);
        judge_drawing(&text, way);
    }
}

fn judge_drawing(text: &str, way: &str) {
    let end = match way {
        "interrupted" => "cofferdam: cancelled; nothing was tagged",
        "broken" => "cofferdam: ",
        _ => "pushed linux/amd64",
    };
    let (before, _) = text.split_once(end).unwrap_or_else(|| panic!("{way}: {text:?}"));
    // What was drawn in place stands between returns and escapes.
    let drawn: Vec<&str> = before.split(['\r', '\n', '\u{1b}']).filter(|piece| piece.contains("MiB")).collect();
    assert!(!drawn.is_empty(), "{way}: nothing was drawn: {text:?}");
    for piece in drawn {
        // Without the `[2K` of an escape.
        let shown = piece.trim_start_matches("[2K");
        assert!(shown.chars().count() < 40, "{way}: {shown:?} in {text:?}");
    }
    let last = before.rfind("MiB").unwrap_or_default();
    assert!(before[last..].contains("\u{1b}[2K"), "{way}: the line stays: {text:?}");
}

#[test]
fn one_image_of_several_is_named() {
    let Some(rig) = Rig::start(None) else { return };
    let reference = rig.reference();
    let wrong = rig.command(&["image", "inspect", &reference, "--plain-http", "--image", "a:1"], "").output().unwrap();
    let (status, text) = said(&wrong);
    assert!(status == 1 && text.contains("in a registry"), "{text}");
    let archive = rig.path("agent.tar");
    let archive = archive.to_str().unwrap();
    let named = |name: &str| rig.command(&["image", "inspect", archive, "--image", name], "").output().unwrap();
    assert_eq!(said(&named("agent:1")).0, 0);
    let (status, text) = said(&named("other:1"));
    assert!(status == 1 && text.contains("agent:1"), "{text}");
    assert!(Path::new(archive).exists());
}
