//! Foreign components: looked at and compiled in a child process for each, so that a hole in a reader or the compiler
//! costs that process. Bounded in number, time and what is read of its words; gone when nobody waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_contract::{Component, Problem};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::{OnceCell, Semaphore};

use super::child::ToolProgram;

/// The line that describes a component, and what is kept of the child's other words, in bytes.
const MAX_LINE: u64 = 32 << 20;
const MAX_WORDS: u64 = 16 << 10;
/// A compilation has this time, and more for each MiB.
const TIME: Duration = Duration::from_secs(60);
const TIME_PER_MIB: Duration = Duration::from_secs(10);

/// What a child comes to, for all who wait for it.
type Outcome = OnceCell<Result<Component, Problem>>;

/// Checks and compiles components on this machine.
pub struct Components {
    program: ToolProgram,
    places: Semaphore,
    /// What is under way: who asks for the same waits for the same child.
    under_way: Mutex<HashMap<String, Weak<Outcome>>>,
}

/// What the child says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Problem(Problem),
    Component(Box<Component>),
}

impl Components {
    pub fn new(program: ToolProgram) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { program, places: Semaphore::new(cores), under_way: Mutex::default() }
    }

    /// Has the component compiled into the artifact cache, and learns what it is. What was compiled before is only
    /// looked up.
    ///
    /// # Errors
    /// [`Problem::bad_component`] with what is wrong with it; [`Problem::internal`] where the child cannot be had.
    pub async fn ensure(&self, digest: &str, bytes: Bytes) -> Result<Component, Problem> {
        if bytes.len() > MAX_COMPONENT_BYTES {
            return Err(Problem::too_large(format!("A component may have at most {MAX_COMPONENT_BYTES} bytes.")));
        }
        let outcome = self.under_way(digest);
        outcome.get_or_init(|| self.compile(digest, bytes)).await.clone()
    }

    fn under_way(&self, digest: &str) -> Arc<Outcome> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, outcome| outcome.strong_count() > 0);
        if let Some(outcome) = under_way.get(digest).and_then(Weak::upgrade) {
            return outcome;
        }
        let outcome = Arc::new(Outcome::new());
        under_way.insert(digest.to_owned(), Arc::downgrade(&outcome));
        outcome
    }

    async fn compile(&self, digest: &str, bytes: Bytes) -> Result<Component, Problem> {
        let hashed = bytes.clone();
        // A large one takes longer than others should wait for this thread.
        let found = tokio::task::spawn_blocking(move || crate::auth::hex(&Sha256::digest(&hashed))).await;
        let found = found.map(|hex| format!("sha256:{hex}")).map_err(|e| Problem::internal(e.to_string()))?;
        if found != digest {
            return Err(Problem::invalid(format!("These bytes have the digest {found}, not {digest}.")));
        }
        let _place = self.places.acquire().await.map_err(|_| Problem::unavailable("The service is shutting down."))?;
        let mib = u32::try_from(bytes.len() >> 20).unwrap_or(u32::MAX);
        let time = TIME + TIME_PER_MIB.saturating_mul(mib);
        let child = self.program.compile(digest).spawn().map_err(|error| failed("started", &error))?;
        // The child is killed when this is given up.
        match tokio::time::timeout(time, talk(child, bytes)).await {
            Ok(said) => judge(digest, said.map_err(|error| failed("talked to", &error))?),
            Err(_) => {
                Err(Problem::bad_component(format!("It could not be compiled within {} seconds.", time.as_secs())))
            }
        }
    }
}

fn failed(what: &str, error: &std::io::Error) -> Problem {
    tracing::error!(%error, "a compiler could not be {what}");
    Problem::internal("The component could not be compiled; the log says why.")
}

struct Talk {
    line: Vec<u8>,
    words: Vec<u8>,
    status: std::process::ExitStatus,
}

async fn talk(mut child: Child, bytes: Bytes) -> std::io::Result<Talk> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not read to the end has something to say instead.
            let _ = stdin.write_all(&bytes).await;
        }
        drop(bytes);
    };
    let ((), line, words) = tokio::join!(write, read(stdout, MAX_LINE), read(stderr, MAX_WORDS));
    Ok(Talk { line: line?, words: words?, status: child.wait().await? })
}

/// At most so many bytes; the rest is read and let go, so that nobody waits for room in a pipe.
async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(most).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

fn judge(digest: &str, talk: Talk) -> Result<Component, Problem> {
    let words = String::from_utf8_lossy(&talk.words);
    if !words.trim().is_empty() {
        tracing::info!(digest, words = words.trim(), "the compiler said");
    }
    match serde_json::from_slice(&talk.line) {
        Ok(Said::Component(component)) if talk.status.success() && component.digest == digest => Ok(*component),
        Ok(Said::Problem(problem)) => Err(problem),
        _ if talk.status.code().is_none() => {
            tracing::warn!(digest, status = %talk.status, "a compiler was ended");
            let detail = "It could not be compiled: it takes more memory or time than a component may.";
            Err(Problem::bad_component(detail))
        }
        _ => {
            let line = String::from_utf8_lossy(talk.line.get(..200).unwrap_or(&talk.line)).into_owned();
            tracing::error!(digest, status = %talk.status, line, "a compiler failed");
            Err(Problem::internal("The component could not be compiled; the log says why."))
        }
    }
}

#[cfg(test)]
mod tests;
