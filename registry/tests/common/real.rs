//! Debian's `docker-registry` on a free port with a folder of its own, and `skopeo` to look at what arrived. Where they
//! are not installed, a test says SKIPPED and ends.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_testkit::{DockerRegistry, RegistrySetup};

use super::fake::{PASSWORD, USER};

/// `PASSWORD` by bcrypt, as `htpasswd -B` writes it.
const HTPASSWD: &str = "alice:$2y$04$2DKPB97CZJEuPejMdpPPxuVlclH5OSk1zpTLql9/EwWEpmKoDSr6y\n";

pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
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

/// True if the test can run. Prints SKIPPED otherwise.
pub(crate) fn have(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED {test}: {missing:?} is not installed (Debian's packages of the same name)");
    }
    missing.is_empty()
}

#[derive(Default)]
pub(crate) struct Setup {
    pub password: bool,
    /// Certificate and key, PEM.
    pub tls: Option<(String, String)>,
}

pub(crate) struct Real {
    registry: DockerRegistry,
    pub address: String,
    pub folder: Folder,
}

impl Real {
    pub(crate) fn start(setup: &Setup) -> Self {
        let htpasswd = setup.password.then(|| HTPASSWD.to_owned());
        let setup = RegistrySetup { htpasswd, tls: setup.tls.clone(), delete: true };
        let registry = DockerRegistry::with(&setup).unwrap();
        Self { address: format!("localhost:{}", registry.port), registry, folder: Folder::new() }
    }

    /// Ends it, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.registry.kill();
    }

    pub(crate) fn start_again(&mut self) {
        self.registry.start_again();
    }

    pub(crate) fn log(&self) -> String {
        self.registry.log()
    }

    /// The output of `skopeo`, which must succeed.
    pub(crate) fn skopeo(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("skopeo");
        command.args(arguments).env("XDG_RUNTIME_DIR", &self.folder.0).env("HOME", &self.folder.0);
        let Output { status, stdout, stderr } = command.output().unwrap();
        assert!(status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// An image as skopeo sees it.
    pub(crate) fn seen(&self, image: &str, more: &[&str]) -> serde_json::Value {
        let place = format!("docker://{}/{image}", self.address);
        let arguments = [&["inspect", "--tls-verify=false"], more, &[place.as_str()]].concat();
        serde_json::from_str(&self.skopeo(&arguments)).unwrap()
    }

    /// Copies an image out of the registry, layers and all, with every digest checked by skopeo.
    pub(crate) fn copied(&self, image: &str) -> PathBuf {
        let to = self.folder.0.join(format!("copy-{}", image.replace(['/', ':', '@'], "-")));
        let place = format!("docker://{}/{image}", self.address);
        let credentials = format!("{USER}:{PASSWORD}");
        let to_text = format!("dir:{}", to.display());
        self.skopeo(&["copy", "--all", "--src-tls-verify=false", "--src-creds", &credentials, &place, &to_text]);
        to
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.registry.data()
    }
}
