//! What reads foreign bytes, each as a function of bytes: for the fuzzer, and for the smoke test of `make test`. A target
//! returns; that it neither panics nor hangs is the assertion, with those that stand here.

use std::io::Write;
use std::sync::Arc;

use cofferdam_contract::{RunRequest, normalize_path};
use cofferdam_host_api::{Base, Budget, Mounts, Quota, SystemClock, Vfs};
use cofferdam_runtime::kernel::manifest::Manifest;
use cofferdam_runtime::memory::Delta;
use cofferdam_runtime::recorder::{Recorder, Stream};

pub type Target = fn(&[u8]);

pub const TARGETS: [(&str, Target); 6] = [
    ("run_request", run_request),
    ("path", path),
    ("delta", delta),
    ("archive", archive),
    ("manifest", manifest),
    ("door", door),
];

/// The body of `POST /v1/runs`.
pub fn run_request(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<RunRequest>(bytes) else { return };
    let _ = request.check();
    for (path, _) in request.files.decode().unwrap_or_default() {
        stays_inside(&path);
    }
    let text = serde_json::to_string(&request).expect("a request is JSON again");
    let again: RunRequest = serde_json::from_str(&text).expect("and reads as itself");
    // As JSON: no files are no files, as a list and as a map.
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
}

/// A path of a file.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(path) = normalize_path(text) {
        stays_inside(&path);
        assert_eq!(normalize_path(&path).as_deref(), Ok(path.as_str()), "normal twice is normal once");
    }
}

fn stays_inside(path: &str) {
    assert!(!path.is_empty() && !path.starts_with('/') && !path.ends_with('/') && !path.contains("//"), "{path:?}");
    assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")) && !path.contains(['\0', '\\']), "{path:?}");
}

/// The memory of a suspended session.
pub fn delta(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    let _ = Delta::open(file);
}

/// The files of a suspended session.
pub fn archive(bytes: &[u8]) {
    let budget = Budget::new(8 << 20);
    let quota = Quota { disk_bytes: 1 << 20, files: 200, open_files: 8 };
    let base = Base { mounts: Arc::new(Mounts::new()), budget: Arc::clone(&budget), clock: Arc::new(SystemClock) };
    if let Ok(vfs) = Vfs::from_archive(Arc::new(base), quota, bytes) {
        let usage = vfs.usage();
        assert!(usage.bytes <= quota.disk_bytes && usage.files <= quota.files, "{usage:?}");
        let mut copy = Vec::new();
        vfs.to_archive(&mut copy).expect("what was read can be written");
        for file in vfs.list() {
            let _ = vfs.read_file(&file.path);
        }
    }
    assert_eq!(budget.used(), 0, "memory for files is given back");
}

/// `kernel.toml`.
pub fn manifest(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = toml::from_str::<Manifest>(text);
    }
}

/// Requests of a guest through its door, and its output between them; NUL bytes part them.
pub fn door(bytes: &[u8]) {
    const BUDGET: u64 = 4_096;
    let mut recorder = Recorder::new(BUDGET, None);
    for (number, request) in bytes.split(|b| *b == 0).enumerate() {
        let _ = recorder.door(request);
        let _ = recorder.write(if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr }, request);
    }
    let record = recorder.finish();
    // A byte that is no UTF-8 becomes three.
    assert!((record.stdout.len() + record.stderr.len()) as u64 <= 3 * BUDGET);
}
