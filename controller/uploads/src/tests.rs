//! Uploads over pipelines of the tests' own.

mod ending;
mod resuming;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::{DeploymentId, FailureReason, OrganizationId};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::*;

/// Collects what comes, at the pace of `gate`: a piece for each permit.
struct Collect {
    got: Arc<Mutex<Vec<u8>>>,
    gate: Arc<tokio::sync::Semaphore>,
    alive: Arc<AtomicUsize>,
    recorded: Arc<Mutex<Vec<Result<Pushed, PushFailure>>>>,
    /// Fails when this byte comes.
    poison: Option<u8>,
    unwanted: AtomicBool,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn pushed(size: usize) -> Pushed {
    let image = PushedImage {
        reference: "r/x@sha256:0".into(),
        digest: "sha256:0".into(),
        architecture: "amd64".into(),
        run_as: None,
        size_bytes: size as u64,
    };
    Pushed { image, layers: 1, skipped: 0, sent_bytes: size as u64, notes: vec![] }
}

impl Work for Collect {
    fn push(&self, mut incoming: Incoming) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let (got, gate, poison) = (Arc::clone(&self.got), Arc::clone(&self.gate), self.poison);
        self.alive.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(Arc::clone(&self.alive));
        got.lock().unwrap().clear();
        async move {
            let _alive = alive;
            loop {
                gate.acquire().await.unwrap().forget();
                let Some(piece) = incoming.next().await else { break };
                let piece = piece.unwrap();
                if poison.is_some_and(|bad| piece.contains(&bad)) {
                    let failure = PushFailure::new(FailureReason::BadImage, "poison");
                    return Err(if bad_is_passing(poison) { failure.once_more() } else { failure });
                }
                got.lock().unwrap().extend_from_slice(&piece);
            }
            let size = got.lock().unwrap().len();
            Ok(pushed(size))
        }
        .boxed()
    }

    fn wanted(&self, _: u64, _: Duration) -> BoxFuture<'static, bool> {
        let wanted = !self.unwanted.load(Ordering::SeqCst);
        async move { wanted }.boxed()
    }

    fn record(&self, ended: Result<Pushed, PushFailure>) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let recorded = Arc::clone(&self.recorded);
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            recorded.lock().unwrap().push(ended.clone());
            ended
        }
        .boxed()
    }
}

/// The retryable one of the two poisons that tests use.
fn bad_is_passing(poison: Option<u8>) -> bool {
    poison == Some(b'?')
}

struct Rig {
    live: Live,
    work: Arc<dyn Work>,
    collect: Arc<Collect>,
    organization: OrganizationId,
}

/// The same work, held as what it is and as what the uploads know.
struct Shared(Arc<Collect>);

impl Work for Shared {
    fn push(&self, incoming: Incoming) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        self.0.push(incoming)
    }
    fn wanted(&self, received: u64, absent: Duration) -> BoxFuture<'static, bool> {
        self.0.wanted(received, absent)
    }
    fn record(&self, ended: Result<Pushed, PushFailure>) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        self.0.record(ended)
    }
}

fn limits() -> UploadLimits {
    UploadLimits {
        image_bytes: 1_000,
        at_once: 3,
        per_organization: 2,
        idle: Duration::from_secs(60),
        absence: Duration::from_secs(600),
        whole: Duration::from_secs(3_600),
        stall: Duration::from_secs(300),
        again: Duration::from_secs(120),
    }
}

fn rig(permits: usize, poison: Option<u8>) -> Rig {
    let collect = Arc::new(Collect {
        got: Arc::default(),
        gate: Arc::new(tokio::sync::Semaphore::new(permits)),
        alive: Arc::default(),
        recorded: Arc::default(),
        poison,
        unwanted: AtomicBool::new(false),
    });
    Rig {
        live: Live::new(limits(), Handle::current()),
        work: Arc::new(Shared(Arc::clone(&collect))),
        collect,
        organization: OrganizationId::default_organization(),
    }
}

impl Rig {
    async fn hold(&self, id: u128, from: At) -> Result<Hold, Refused> {
        self.live.hold(&self.organization, &DeploymentId::from_random(id), from, &self.work).await
    }

    fn got(&self) -> String {
        String::from_utf8(self.collect.got.lock().unwrap().clone()).unwrap()
    }

    fn recorded(&self) -> Vec<Result<Pushed, PushFailure>> {
        self.collect.recorded.lock().unwrap().clone()
    }
}

fn body(pieces: &[&'static str]) -> Body {
    let pieces: Vec<_> =
        pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))).collect();
    Body::from_stream(stream::iter(pieces))
}

/// A body that breaks off after its pieces.
fn broken(pieces: &[&'static str]) -> Body {
    let pieces = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
    let all: Vec<_> = pieces.chain([Err(std::io::Error::other("reset"))]).collect();
    Body::from_stream(stream::iter(all))
}

/// A body that its sender goes on with.
fn open() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (sender, pieces) = mpsc::unbounded_channel();
    let pieces = stream::unfold(pieces, |mut pieces: mpsc::UnboundedReceiver<&'static str>| async move {
        pieces.recv().await.map(|piece| (Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())), pieces))
    });
    (sender, Body::from_stream(Box::pin(pieces)))
}
