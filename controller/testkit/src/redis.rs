//! A Redis of a test's own, on a Unix socket in a temporary folder. Never one that somebody else uses.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time that it may take to start.
const SOON: Duration = Duration::from_secs(20);

/// A server on a Unix socket in a folder that goes with it.
pub struct Redis {
    folder: tempfile::TempDir,
    child: Option<Child>,
    password: &'static str,
}

impl Redis {
    /// `None`, with a word about it, on a machine without Redis.
    pub fn start() -> Option<Self> {
        Self::with_password("")
    }

    /// Asks for a password.
    pub fn with_password(password: &'static str) -> Option<Self> {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            eprintln!("SKIPPED: redis-server is missing");
            return None;
        }
        let mut redis = Self { folder: tempfile::tempdir().unwrap(), child: None, password };
        redis.restart();
        Some(redis)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis")
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    /// Starts it, empty, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(self.socket());
        if !self.password.is_empty() {
            command.args(["--requirepass", self.password]);
        }
        let child = command.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap());
        let begun = Instant::now();
        while UnixStream::connect(self.socket()).and_then(|mut socket| socket.write_all(b"PING\r\n")).is_err() {
            assert!(begun.elapsed() < SOON, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it as a machine that hangs does, or lets it go on.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Its address, with a password if there is one.
    pub fn url(&self, password: &str) -> String {
        let credentials = if password.is_empty() { String::new() } else { format!("?pass={password}") };
        format!("unix://{}{credentials}", self.socket().display())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
