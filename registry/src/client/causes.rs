//! Finds the cause of a failed request in the chain of a library's errors, whose own words would repeat URLs with a
//! registry's upload tokens or a proxy's password.

use std::error::Error;
use std::io;

use tokio_rustls::rustls;

/// The deepest chain that is followed.
const MAX_DEPTH: usize = 16;

/// The lookup of a host's name failed. Raised by our own resolver, so that it is recognized by its type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoAddress(pub String);

/// A proxy's refusal, or its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tunnel {
    WantsCredentials,
    Refused,
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Causes {
    pub tls: Option<rustls::Error>,
    pub io: Option<io::ErrorKind>,
    pub tunnel: Option<Tunnel>,
    /// The resolver's words.
    pub no_address: Option<String>,
}

impl Causes {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut causes = Self::default();
        causes.look(error.source(), MAX_DEPTH);
        causes
    }

    /// True if the other side does not speak TLS: its first bytes are none of it.
    pub(super) fn is_no_tls(&self) -> bool {
        matches!(self.tls, Some(rustls::Error::InvalidMessage(_)))
    }

    fn look(&mut self, cause: Option<&(dyn Error + 'static)>, deep: usize) {
        let Some(cause) = cause.filter(|_| deep > 0) else { return };
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            self.tls = Some(tls.clone());
        }
        if let Some(found) = cause.downcast_ref::<NoAddress>() {
            self.no_address = Some(found.0.clone());
        }
        self.tunnel = self.tunnel.or_else(|| tunnel(cause));
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            self.io = self.io.filter(|kind| *kind != io::ErrorKind::Other).or(Some(io.kind()));
            // Its `source` is not the wrapped error, but that error's source.
            if let Some(inner) = io.get_ref() {
                self.look(Some(inner), deep - 1);
            }
        }
        self.look(cause.source(), deep - 1);
    }
}

/// The type of a proxy's refusal is private to hyper-util, so that only its words are left to recognize it.
fn tunnel(cause: &(dyn Error + 'static)) -> Option<Tunnel> {
    let words = cause.to_string();
    match words.strip_prefix("tunnel error: ")? {
        "proxy authorization required" => Some(Tunnel::WantsCredentials),
        "unsuccessful" | "unexpected end of file" | "proxy response headers too long" => Some(Tunnel::Refused),
        _ => Some(Tunnel::Failed),
    }
}
