//! A `cofferdam serve` for tests: a free port, a private data folder, the shared kernels and cache.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, Call};
use super::process;

/// Settings of `serve`, in addition to those of every test server.
#[derive(Default)]
pub(crate) struct Setup {
    pub env: Vec<(String, String)>,
    pub args: Vec<String>,
    /// The content of a `--config` file.
    pub config: String,
    /// Do not wait until it accepts runs.
    pub unready: bool,
    /// Another copy of the program, instead of the one that was built.
    pub program: Option<PathBuf>,
}

impl Setup {
    pub(crate) fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config = text.to_owned();
        self
    }
}

pub(crate) struct Server {
    child: Child,
    pub address: SocketAddr,
    /// A key with every scope.
    pub key: String,
    /// Holds `data`, `tmp` and the log; deleted with the server, unless another server uses it.
    pub folder: Arc<TempDir>,
    watchdog: Watchdog,
}

/// Stops the server when the test's process ends for any reason: it reads a pipe that closes then.
struct Watchdog {
    shell: Child,
    _pipe: Option<ChildStdin>,
}

impl Watchdog {
    fn over(pid: u32) -> Self {
        let script = format!("read -r _; kill -9 {pid} 2>/dev/null");
        let mut shell = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("sh");
        Self { _pipe: shell.stdin.take(), shell }
    }
}

fn folder_of(variable: &str, inside_target: &str) -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(inside_target);
    std::env::var_os(variable).map_or(usual, PathBuf::from)
}

/// The kernels' folder.
///
/// # Panics
/// There are no kernels.
pub(crate) fn kernels() -> PathBuf {
    let folder = folder_of("COFFERDAM_KERNELS", "kernels");
    assert!(
        folder.join("python/kernel.toml").is_file() && folder.join("javascript/kernel.toml").is_file(),
        "there are no kernels in {}: run `make kernels`",
        folder.display()
    );
    folder
}

pub(crate) fn cache() -> PathBuf {
    folder_of("COFFERDAM_CACHE_DIR", "cache")
}

impl Server {
    /// A server with the usual settings.
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let folder = Arc::new(tempfile::Builder::new().prefix("cofferdam-test-").tempdir().expect("a folder"));
        Self::in_folder(folder, setup)
    }

    /// The server that a test binary's tests share; stopped when the last of them drops it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        server
    }

    /// A server on the data of another that has ended.
    pub(crate) fn in_folder(folder: Arc<TempDir>, setup: Setup) -> Self {
        // Kernels are compiled once: by the first server, while the others wait.
        static FIRST: Mutex<bool> = Mutex::new(false);
        let mut compiled = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = setup.unready;
        let server = Self::spawn(folder, setup);
        if !waits {
            server.wait_ready(if *compiled { Duration::from_secs(60) } else { Duration::from_secs(900) });
            *compiled = true;
        }
        server
    }

    fn spawn(folder: Arc<TempDir>, setup: Setup) -> Self {
        static KEY: OnceLock<String> = OnceLock::new();
        let key =
            KEY.get_or_init(|| format!("test-key-{:016x}-canary", std::process::id() as u64 * 0x9E37_79B9)).clone();
        let (data, tmp) = (folder.path().join("data"), folder.path().join("tmp"));
        fs::create_dir_all(&tmp).expect("a folder");
        let log = File::options().create(true).append(true).open(folder.path().join("log")).expect("the log");
        // `make smoke` names the release program.
        let built = || {
            let named = std::env::var_os("COFFERDAM_TEST_PROGRAM");
            named.unwrap_or_else(|| env!("CARGO_BIN_EXE_cofferdam").into()).into()
        };
        let mut command = Command::new(setup.program.clone().unwrap_or_else(built));
        command.args(["serve", "--log-format", "json"]).arg("--data-dir").arg(&data);
        if !setup.args.iter().any(|word| word == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !setup.config.is_empty() {
            let path = folder.path().join("config.toml");
            fs::write(&path, &setup.config).expect("the configuration");
            command.arg("--config").arg(path);
        }
        command.args(&setup.args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("COFFERDAM_KERNELS", kernels()).env("COFFERDAM_CACHE_DIR", cache()).env("TMPDIR", &tmp);
        command.env("COFFERDAM_API_KEY", &key).envs(setup.env);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("starting cofferdam serve");
        let watchdog = Watchdog::over(child.id());
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = output.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("http://")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        let Some(address) = address else {
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("cofferdam serve did not say where it listens:\n{log}");
        };
        std::thread::spawn(move || output.for_each(drop));
        Self { child, address, key, folder, watchdog }
    }

    /// Waits until it accepts runs.
    pub(crate) fn wait_ready(&self, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            match Call::new("GET", "/ready").send_to(self.address) {
                Ok(answer) if answer.status == 200 => return,
                Ok(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                last => panic!("the server is not ready: {last:?}\n{}", self.log()),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process that runs untrusted code.
    pub(crate) fn worker_pid(&self) -> Option<u32> {
        process::child_with(self.pid(), "worker")
    }

    /// The worker, and the process that runs tools.
    pub(crate) fn workers(&self) -> [Option<u32>; 2] {
        [self.worker_pid(), process::child_with(self.pid(), "tool-worker")]
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything that the server and its worker have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a call with the key, unless the call has one.
    pub(crate) fn send(&self, call: Call) -> Answer {
        let given = call.headers.iter().any(|(name, _)| name == "x-api-key" || name == "authorization");
        let call = if given { call } else { call.header("x-api-key", &self.key) };
        call.send_to(self.address).unwrap_or_else(|e| panic!("{} {}: {e}", call.method, call.path))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(Call::new("GET", path))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Call::new("POST", path).json(body))
    }

    pub(crate) fn run(&self, body: Value) -> Answer {
        self.post("/v1/runs", &body)
    }

    /// Runs Python that must succeed, and returns its standard output.
    #[track_caller]
    pub(crate) fn python(&self, code: &str) -> String {
        said(&self.run(json!({"language": "python", "code": code})))
    }

    /// Creates a session.
    #[track_caller]
    pub(crate) fn session(&self, body: Value) -> String {
        self.post("/v1/sessions", &body).expect(201)["id"].as_str().unwrap().to_owned()
    }

    /// Runs code in a session that must succeed, and returns its standard output.
    #[track_caller]
    pub(crate) fn in_session(&self, session: &str, code: &str) -> String {
        said(&self.run(json!({"session": session, "code": code})))
    }

    /// Creates a key with these scopes.
    pub(crate) fn new_key(&self, scopes: &[&str]) -> String {
        let answer = self.post("/v1/keys", &json!({"name": "a test's", "scopes": scopes}));
        answer.expect(201)["key"].as_str().unwrap().to_owned()
    }

    /// The value of a metric, the sum of its labelled series; `None` if it does not exist.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").text();
        let series = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|r| r.starts_with(['{', ' '])));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|a, b| a + b)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(90);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("waiting") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not end:\n{}", self.log());
    }

    /// Sends SIGTERM and waits for an orderly end.
    pub(crate) fn stop(mut self) -> Arc<TempDir> {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.log());
        Arc::clone(&self.folder)
    }
}

/// The standard output of a run that succeeded.
#[track_caller]
pub(crate) fn said(answer: &Answer) -> String {
    let outcome = answer.expect(200);
    assert_eq!(outcome["status"], "ok", "{outcome:#}");
    outcome["stdout"].as_str().unwrap().to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.watchdog.shell.kill();
        let _ = self.watchdog.shell.wait();
    }
}
