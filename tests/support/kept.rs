//! A client that keeps its connection from call to call, as most clients do. It never sends a call again.

use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http::{Answer, Call, connect};

/// The server closes a connection that is idle for ten seconds; one that is idle for this long is not used again.
const IDLE_TIME: Duration = Duration::from_secs(4);

pub(crate) struct Kept {
    address: SocketAddr,
    open: Option<(BufReader<TcpStream>, Instant)>,
}

impl Kept {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// Sends a call and reads the whole answer.
    pub(crate) fn send(&mut self, call: Call) -> Result<Answer, String> {
        let call = call.header("connection", "keep-alive");
        let kept = self.open.take().filter(|(_, used)| used.elapsed() < IDLE_TIME);
        let reader = match kept {
            Some((reader, _)) => reader,
            None => connect(self.address)?,
        };
        let (answer, reader) = call.open_on(reader, self.address)?.finish_kept()?;
        if answer.header("connection") != Some("close") {
            self.open = Some((reader, Instant::now()));
        }
        Ok(answer)
    }
}
