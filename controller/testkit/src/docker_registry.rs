//! Runs Debian's `docker-registry` on a free port of loopback, with an empty store in a temporary folder.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The timeout of its start, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings that differ from the defaults.
#[derive(Default)]
pub struct RegistrySetup {
    /// Lines of an `htpasswd` file, for basic authentication.
    pub htpasswd: Option<String>,
    /// Certificate and key, PEM.
    pub tls: Option<(String, String)>,
    /// Manifests and blobs can be deleted.
    pub delete: bool,
}

/// A running registry.
pub struct DockerRegistry {
    child: Child,
    folder: TempDir,
    pub port: u16,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DockerRegistry {
    /// Returns `None` and prints a line if it is not installed.
    pub fn start() -> Option<Self> {
        Self::with(&RegistrySetup::default())
    }

    /// The same with other settings.
    ///
    /// # Panics
    /// It does not start.
    pub fn with(setup: &RegistrySetup) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(folder.path().join("config.yml"), config(setup, &folder, port)).unwrap();
        let Some(child) = spawn(&folder) else {
            println!("SKIPPED: docker-registry is not installed (Debian's package of the same name)");
            return None;
        };
        let mut registry = Self { child, folder, port };
        registry.listens();
        Some(registry)
    }

    /// Kills it, as a crash would.
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with the same store and port.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.folder).unwrap();
        self.listens();
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn listens(&mut self) {
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "docker-registry ended: {}", self.log());
            assert!(Instant::now() < until, "docker-registry does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder of its store.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn spawn(folder: &TempDir) -> Option<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(folder.path().join("config.yml")).stdout(Stdio::null()).stderr(log);
    command.spawn().ok()
}

fn config(setup: &RegistrySetup, folder: &TempDir, port: u16) -> String {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
         delete: {{enabled: {}}}\nhttp:\n  addr: '127.0.0.1:{port}'\n  secret: known-after-a-restart\n",
        path("data"),
        setup.delete,
    );
    if let Some((certificate, key)) = &setup.tls {
        std::fs::write(path("tls.crt"), certificate).unwrap();
        std::fs::write(path("tls.key"), key).unwrap();
        text.push_str(&format!("  tls: {{certificate: {}, key: {}}}\n", path("tls.crt"), path("tls.key")));
    }
    if let Some(lines) = &setup.htpasswd {
        std::fs::write(path("htpasswd"), lines).unwrap();
        text.push_str(&format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", path("htpasswd")));
    }
    text
}
