//! Finds the server for a command: the one that the environment names, or the one on this machine with the key from its
//! data folder.

use anyhow::bail;

use super::{ClientError, Server};
use crate::Machine;
use crate::folders::{data_dir, set};

const LOCAL_URL: &str = "http://127.0.0.1:8080";

/// # Errors
/// An invalid COFFERDAM_URL, or no key.
pub(crate) fn find(machine: &dyn Machine) -> anyhow::Result<Server> {
    let url = set("COFFERDAM_URL");
    let key = match set("COFFERDAM_API_KEY") {
        Some(key) => key,
        None if url.is_some() => bail!("COFFERDAM_URL needs COFFERDAM_API_KEY, a key of that server"),
        None => {
            let path = data_dir(machine)?.join("api-key");
            std::fs::read_to_string(&path).map_err(|source| ClientError::NoKey { path, source })?
        }
    };
    Server::at(url.as_deref().unwrap_or(LOCAL_URL), Some(&key))
}

/// Runs one command against the server.
///
/// # Errors
/// The error of `work`, with a hint if no server listens.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let done = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work);
    match done {
        Err(error)
            if matches!(error.downcast_ref::<ClientError>(), Some(ClientError::Unreachable { refused: true, .. })) =>
        {
            Err(error
                .context("no server listens there; start `cofferdam serve`, or set COFFERDAM_URL to another server"))
        }
        done => done,
    }
}
