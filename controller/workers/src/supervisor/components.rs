//! Foreign components: each is checked and compiled in a child process of its own, so that a hole in a reader or the
//! compiler costs only that process. The children are bounded in number, time and output, and end when no caller waits.

use std::collections::HashMap;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_contract::{Component, Problem};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::{OnceCell, Semaphore};

use super::child::ToolProgram;

/// The longest description of a component, in bytes.
const MAX_DESCRIPTION: u64 = 32 << 20;
/// The part of a child's standard error that is kept, in bytes.
const MAX_LOG: u64 = 16 << 10;
/// The time of a compilation, and the additional time for each MiB.
const COMPILE_TIME: Duration = Duration::from_secs(60);
const TIME_PER_MIB: Duration = Duration::from_secs(10);

/// The result of one child, for everybody who waits for it.
type Outcome = OnceCell<Result<Component, Problem>>;

/// Checks and compiles components on this machine.
pub struct Components {
    program: ToolProgram,
    places: Semaphore,
    /// Requests for the same component wait for the same child.
    in_progress: Mutex<HashMap<String, Weak<Outcome>>>,
}

/// The child's answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Problem(Problem),
    Component(Box<Component>),
}

impl Components {
    pub fn new(program: ToolProgram) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { program, places: Semaphore::new(cores), in_progress: Mutex::default() }
    }

    /// Has the component compiled into the artifact cache, and returns its description. A component that was compiled
    /// before is only looked up.
    ///
    /// # Errors
    /// [`Problem::bad_component`] says why the component is invalid; [`Problem::internal`] if the child failed.
    pub async fn ensure(&self, digest: &str, bytes: Bytes) -> Result<Component, Problem> {
        if bytes.len() > MAX_COMPONENT_BYTES {
            return Err(Problem::too_large(format!("A component may have at most {MAX_COMPONENT_BYTES} bytes.")));
        }
        let outcome = self.outcome(digest);
        outcome.get_or_init(|| self.compile(digest, bytes)).await.clone()
    }

    fn outcome(&self, digest: &str) -> Arc<Outcome> {
        let mut in_progress = self.in_progress.lock();
        in_progress.retain(|_, outcome| outcome.strong_count() > 0);
        if let Some(outcome) = in_progress.get(digest).and_then(Weak::upgrade) {
            return outcome;
        }
        let outcome = Arc::new(Outcome::new());
        in_progress.insert(digest.to_owned(), Arc::downgrade(&outcome));
        outcome
    }

    async fn compile(&self, digest: &str, bytes: Bytes) -> Result<Component, Problem> {
        let hashed = bytes.clone();
        // Hashing a large component would hold up this thread.
        let found = tokio::task::spawn_blocking(move || hex::encode(Sha256::digest(&hashed))).await;
        let found = found.map(|hex| format!("sha256:{hex}")).map_err(|error| failed("hashed", &error))?;
        if found != digest {
            return Err(Problem::invalid(format!("These bytes have the digest {found}, not {digest}.")));
        }
        let _place = self.places.acquire().await.map_err(|_| Problem::unavailable("The service is shutting down."))?;
        let mib = u32::try_from(bytes.len() >> 20).unwrap_or(u32::MAX);
        let time = COMPILE_TIME + TIME_PER_MIB.saturating_mul(mib);
        let child = self.program.compile(digest).spawn().map_err(|error| failed("started", &error))?;
        // The child is killed when this future is dropped.
        match tokio::time::timeout(time, run(child, bytes)).await {
            Ok(output) => read_answer(digest, output.map_err(|error| failed("read", &error))?),
            Err(_) => {
                Err(Problem::bad_component(format!("It could not be compiled within {} seconds.", time.as_secs())))
            }
        }
    }
}

fn failed(step: &str, error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, step, "a component could not be compiled");
    Problem::internal("The component could not be compiled; the log says why.")
}

struct Output {
    answer: Vec<u8>,
    log: Vec<u8>,
    status: ExitStatus,
}

/// Hands the component to the child and reads its output to the end.
async fn run(mut child: Child, bytes: Bytes) -> std::io::Result<Output> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A child that does not read to the end answers with the reason.
            let _ = stdin.write_all(&bytes).await;
        }
        drop(bytes);
    };
    let ((), answer, log) = tokio::join!(write, read(stdout, MAX_DESCRIPTION), read(stderr, MAX_LOG));
    Ok(Output { answer: answer?, log: log?, status: child.wait().await? })
}

/// Keeps at most `most` bytes; the rest is read and discarded, so that the child never waits for room in the pipe.
async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(most).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

fn read_answer(digest: &str, output: Output) -> Result<Component, Problem> {
    let log = String::from_utf8_lossy(&output.log);
    if !log.trim().is_empty() {
        tracing::info!(digest, log = log.trim(), "compiler output");
    }
    match serde_json::from_slice(&output.answer) {
        Ok(Answer::Component(component)) if output.status.success() && component.digest == digest => Ok(*component),
        Ok(Answer::Problem(problem)) => Err(problem),
        _ if output.status.code().is_none() => {
            tracing::warn!(digest, status = %output.status, "a compiler was killed");
            let detail = "It could not be compiled: it takes more memory or time than a component may.";
            Err(Problem::bad_component(detail))
        }
        _ => {
            let answer = String::from_utf8_lossy(output.answer.get(..200).unwrap_or(&output.answer)).into_owned();
            tracing::error!(digest, status = %output.status, answer, "a compiler failed");
            Err(Problem::internal("The component could not be compiled; the log says why."))
        }
    }
}

#[cfg(test)]
mod tests;
