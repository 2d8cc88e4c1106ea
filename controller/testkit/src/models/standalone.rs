//! The scripted server in a process of its own: the program that wants it starts itself again with a variable.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::{Shared, serve};

/// Says that this process is the server.
const VARIABLE: &str = "COFFERDAM_FAKE_MODELS";

/// Serves for ever if this process was started by [`FakeProcess::start`]; else returns at once. To be called first in `main`.
pub fn run_if_asked() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr().unwrap()).unwrap();
        out.flush().unwrap();
        serve::accept(listener, Arc::new(Shared::default())).await;
    });
}

/// The server as a child, ended when this is dropped. It keeps no requests.
pub struct FakeProcess {
    child: Child,
    address: SocketAddr,
}

impl FakeProcess {
    /// Starts this program again as the server.
    ///
    /// # Panics
    /// `main` does not call [`run_if_asked`], or the program cannot be started.
    pub fn start() -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child =
            Command::new(program).env(VARIABLE, "1").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("the server's address, not {line:?}"));
        Self { child, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for FakeProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
