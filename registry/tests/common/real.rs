//! Debian's `docker-registry` on a free port with a folder of its own, and `skopeo` to look at what arrived. Where they
//! are not installed, a test says SKIPPED and ends.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fake::{PASSWORD, USER};

/// `PASSWORD` by bcrypt, as `htpasswd -B` writes it.
const HTPASSWD: &str = "alice:$2y$04$2DKPB97CZJEuPejMdpPPxuVlclH5OSk1zpTLql9/EwWEpmKoDSr6y\n";

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cofferdam-registry-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Whether the test can run; says so where it cannot.
pub fn have(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED {test}: {missing:?} is not installed (Debian's packages of the same name)");
    }
    missing.is_empty()
}

#[derive(Default)]
pub struct Setup {
    pub password: bool,
    /// Certificate and key, PEM.
    pub tls: Option<(String, String)>,
}

pub struct Real {
    child: Child,
    config: PathBuf,
    pub address: String,
    pub folder: Folder,
}

impl Real {
    pub fn start(setup: &Setup) -> Self {
        let folder = Folder::new();
        // Free a moment ago; whoever takes it in between fails this test, not another one.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("localhost:{port}");
        let path = |name: &str| folder.0.join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: localhost:{port}\n  secret: known-after-a-restart\n",
            path("data")
        );
        if let Some((certificate, key)) = &setup.tls {
            std::fs::write(path("tls.crt"), certificate).unwrap();
            std::fs::write(path("tls.key"), key).unwrap();
            config.push_str(&format!("  tls:\n    certificate: {}\n    key: {}\n", path("tls.crt"), path("tls.key")));
        }
        if setup.password {
            std::fs::write(path("htpasswd"), HTPASSWD).unwrap();
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd")));
        }
        let file = folder.0.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let real = Self { child: spawn(&file, &folder.0), config: file, address, folder };
        real.wait();
        real
    }

    fn wait(&self) {
        let started = Instant::now();
        while std::net::TcpStream::connect(&self.address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "docker-registry did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(&self.config, &self.folder.0);
        self.wait();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    /// What `skopeo` says, which has to work.
    pub fn skopeo(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("skopeo");
        command.args(arguments).env("XDG_RUNTIME_DIR", &self.folder.0).env("HOME", &self.folder.0);
        let Output { status, stdout, stderr } = command.output().unwrap();
        assert!(status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// An image as skopeo sees it.
    pub fn seen(&self, image: &str, more: &[&str]) -> serde_json::Value {
        let place = format!("docker://{}/{image}", self.address);
        let arguments = [&["inspect", "--tls-verify=false"], more, &[place.as_str()]].concat();
        serde_json::from_str(&self.skopeo(&arguments)).unwrap()
    }

    /// Copies an image out of the registry, layers and all, with every digest checked by skopeo.
    pub fn copied(&self, image: &str) -> PathBuf {
        let to = self.folder.0.join(format!("copy-{}", image.replace(['/', ':', '@'], "-")));
        let place = format!("docker://{}/{image}", self.address);
        let credentials = format!("{USER}:{PASSWORD}");
        let to_text = format!("dir:{}", to.display());
        self.skopeo(&["copy", "--all", "--src-tls-verify=false", "--src-creds", &credentials, &place, &to_text]);
        to
    }

    pub fn data(&self) -> PathBuf {
        self.folder.0.join("data")
    }
}

fn spawn(config: &Path, folder: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config).stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
    command.spawn().unwrap()
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
