//! The life of an upload, over pipelines of the tests' own.

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
use crate::agents::PushedImage;

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

    fn wanted(&self, _: u64) -> BoxFuture<'static, bool> {
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

/// Of the two poisons that tests use, the one that may be gone the next time.
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
    fn wanted(&self, received: u64) -> BoxFuture<'static, bool> {
        self.0.wanted(received)
    }
    fn record(&self, ended: Result<Pushed, PushFailure>) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        self.0.record(ended)
    }
}

fn limits() -> Limits {
    Limits {
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

#[tokio::test(start_paused = true)]
async fn what_is_sent_arrives_and_is_recorded_before_it_is_told() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    assert_eq!(rig.live.count(), 1);
    receive(&hold, &mut body(&["ab", "", "cd", "e"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    let ended = hold.ended().await;
    assert_eq!(ended.as_ref().as_ref().unwrap().image.size_bytes, 5);
    assert_eq!(rig.recorded().len(), 1);
    assert_eq!(rig.got(), "abcde");
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (0, 0));
    drop(hold);
    // Who lost the answer asks again, with nothing left to send.
    let again = rig.hold(1, At::Offset(5)).await.unwrap();
    receive(&again, &mut Body::empty(), &limits()).await.unwrap();
    assert!(again.ended().await.is_ok());
    drop(again);
    let refused = rig.hold(1, At::Offset(3)).await.err();
    assert_eq!(refused, Some(Refused::Mismatch(Progress { offset: 5, length: None, complete: true })));
    assert_eq!(rig.recorded().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_is_gone_on_with_where_it_broke() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let broke = receive(&hold, &mut broken(&["ab", "cd"]), &limits()).await.unwrap_err();
    assert!(matches!(broke, Stopped::Broke(_)));
    drop(hold);
    let (progress, ended) = rig.live.look(&DeploymentId::from_random(1));
    assert_eq!((progress.offset, ended), (4, None));
    for wrong in [0, 3, 5, u64::MAX] {
        assert_eq!(rig.hold(1, At::Offset(wrong)).await.err(), Some(Refused::Mismatch(progress)), "{wrong}");
    }
    tokio::time::sleep(Duration::from_secs(500)).await;
    let hold = rig.hold(1, At::Offset(4)).await.unwrap();
    receive(&hold, &mut body(&["ef"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    assert_eq!(rig.got(), "abcdef");
    assert_eq!(
        rig.hold(2, At::Offset(7)).await.err().map(|r| matches!(r, Refused::Mismatch(p) if p.offset == 0)),
        Some(true)
    );
    assert!(rig.hold(2, At::Offset(0)).await.is_ok(), "at 0 it begins");
}

#[tokio::test(start_paused = true)]
async fn a_new_start_throws_away_what_came() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    receive(&hold, &mut broken(&["wrong"]), &limits()).await.unwrap_err();
    drop(hold);
    let hold = rig.hold(1, At::Start).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (1, 1), "the first pipeline is gone");
    receive(&hold, &mut body(&["right"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    assert_eq!(rig.got(), "right");
    assert_eq!(rig.recorded().len(), 1, "a thrown away start is no end");
}

#[tokio::test(start_paused = true)]
async fn of_two_clients_one_sends_and_a_silent_one_gives_way() {
    let rig = rig(100, None);
    let first = rig.hold(1, At::Start).await.unwrap();
    assert_eq!(rig.hold(1, At::Start).await.err(), Some(Refused::Busy));
    assert_eq!(rig.hold(1, At::Offset(0)).await.err(), Some(Refused::Busy));
    let (sender, mut slow) = open();
    sender.send("ab").unwrap();
    let sending = tokio::spawn(async move {
        let stopped = receive(&first, &mut slow, &limits()).await;
        (stopped, first)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.hold(1, At::Offset(2)).await.err(), Some(Refused::Busy));
    sender.send("cd").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(rig.hold(1, At::Offset(4)).await.err(), Some(Refused::Busy), "it has sent since");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = rig.hold(1, At::Offset(4)).await.unwrap();
    let (stopped, first) = sending.await.unwrap();
    assert_eq!(stopped, Err(Stopped::Replaced));
    sender.send("xx").ok();
    assert!(first.complete().is_err(), "who was replaced ends nothing");
    drop(first);
    assert_eq!(rig.hold(1, At::Offset(4)).await.err(), Some(Refused::Busy), "the second still holds it");
    receive(&second, &mut body(&["ef"]), &limits()).await.unwrap();
    second.complete().unwrap();
    assert!(second.ended().await.is_ok());
    assert_eq!(rig.got(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn a_slow_pipeline_makes_the_client_wait_and_keeps_it() {
    let rig = rig(0, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let endless = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
    });
    let mut endless = Body::from_stream(endless.take(50));
    let receiving = tokio::spawn(async move { (receive(&hold, &mut endless, &limits()).await, hold) });
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(read.load(Ordering::SeqCst) <= 9, "no more is read than there is room for: {read:?}");
    assert_eq!(rig.hold(1, At::Start).await.err(), Some(Refused::Busy), "it is not the client's silence");
    rig.collect.gate.add_permits(100);
    let (received, hold) = receiving.await.unwrap();
    received.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    assert_eq!(rig.got().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_takes_nothing_is_given_up() {
    let rig = rig(0, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let mut endless = Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x"))));
    assert_eq!(receive(&hold, &mut endless, &limits()).await, Err(Stopped::Ended));
    let ended = hold.ended().await;
    assert_eq!(ended.as_ref().as_ref().unwrap_err().reason, FailureReason::Registry);
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bad_archive_is_answered_at_once() {
    let rig = rig(100, Some(b'!'));
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (sender, mut slow) = open();
    sender.send("ab").unwrap();
    sender.send("!").unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(receive(&hold, &mut slow, &limits()).await, Err(Stopped::Ended), "the client is not done");
    assert_eq!(hold.ended().await.as_ref().as_ref().unwrap_err().detail, "poison");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(rig.recorded(), [Err(PushFailure::new(FailureReason::BadImage, "poison"))]);
    drop(hold);
    let late = rig.hold(1, At::Offset(3)).await.unwrap();
    assert_eq!(receive(&late, &mut body(&["more"]), &limits()).await, Err(Stopped::Ended));
    assert!(late.ended().await.is_err(), "who comes late learns it too");
}

#[tokio::test(start_paused = true)]
async fn who_never_comes_back_is_given_up_and_all_is_released() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    receive(&hold, &mut broken(&["ab"]), &limits()).await.unwrap_err();
    drop(hold);
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert!(rig.live.is_under_way(&DeploymentId::from_random(1)));
    tokio::time::sleep(Duration::from_secs(80)).await;
    let [Err(failure)] = &rig.recorded()[..] else { panic!("{:?}", rig.recorded()) };
    assert_eq!(failure.reason, FailureReason::UploadLost);
    assert!(failure.detail.contains("after 2 bytes"), "{}", failure.detail);
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (0, 0));
    assert!(!rig.live.is_under_way(&DeploymentId::from_random(1)));
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_middle_and_endless_dripping_both_end() {
    let rig = rig(10_000, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (_sender, mut silent) = open();
    let start = tokio::time::Instant::now();
    assert_eq!(receive(&hold, &mut silent, &limits()).await, Err(Stopped::Silent));
    assert_eq!(start.elapsed(), limits().idle);
    drop(hold);
    let hold = rig.hold(2, At::Start).await.unwrap();
    let drip = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
    });
    let mut drip = Body::from_stream(Box::pin(drip));
    assert_eq!(receive(&hold, &mut drip, &limits()).await, Err(Stopped::Ended));
    assert_eq!(hold.ended().await.as_ref().as_ref().unwrap_err().reason, FailureReason::UploadLost);
    assert!(start.elapsed() < limits().whole + Duration::from_secs(200));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_than_allowed_or_announced() {
    let rig = rig(10_000, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let many = vec!["0123456789"; 100];
    receive(&hold, &mut body(&many), &limits()).await.unwrap();
    assert_eq!(receive(&hold, &mut body(&["x"]), &limits()).await, Err(Stopped::TooLarge));
    assert_eq!(hold.progress().offset, 1_000);
    let hold = rig.hold(2, At::Start).await.unwrap();
    assert!(hold.announce(5) && hold.announce(5) && !hold.announce(6));
    assert_eq!(receive(&hold, &mut body(&["abc", "def"]), &limits()).await, Err(Stopped::TooMuch));
}

#[tokio::test(start_paused = true)]
async fn uploads_at_once_are_bounded() {
    let rig = rig(100, None);
    let _a = rig.hold(1, At::Start).await.unwrap();
    let b = rig.hold(2, At::Start).await.unwrap();
    assert_eq!(rig.hold(3, At::Start).await.err(), Some(Refused::Full(Full::Organization)));
    let other = OrganizationId::parse("other").unwrap();
    let id = |n| DeploymentId::from_random(n);
    let _c = rig.live.hold(&other, &id(4), At::Start, &rig.work).await.unwrap();
    let full = rig.live.hold(&other, &id(5), At::Start, &rig.work).await.err();
    assert_eq!(full, Some(Refused::Full(Full::All)));
    b.give_up(PushFailure::new(FailureReason::UploadLost, "enough"));
    assert_eq!(b.ended().await.as_ref().as_ref().unwrap_err().detail, "enough");
    assert!(rig.hold(3, At::Start).await.is_ok());
    rig.live.remove(&id(1)).await;
    assert!(rig.hold(6, At::Start).await.is_ok(), "what was removed has given back its place");
}

#[tokio::test(start_paused = true)]
async fn what_may_come_right_is_told_at_once_and_written_down_when_nobody_tries_again() {
    let rig = rig(100, Some(b'?'));
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (sender, mut slow) = open();
    sender.send("?").unwrap();
    assert_eq!(receive(&hold, &mut slow, &limits()).await, Err(Stopped::Ended));
    assert!(hold.ended().await.as_ref().as_ref().unwrap_err().retryable);
    assert!(rig.recorded().is_empty() && rig.live.count() == 0);
    drop(hold);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let hold = rig.hold(1, At::Start).await.unwrap();
    receive(&hold, &mut body(&["good"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert!(matches!(rig.recorded()[..], [Ok(_)]), "the failure before it is forgotten");
    let hold = rig.hold(2, At::Start).await.unwrap();
    let (sender, mut slow) = open();
    sender.send("?").unwrap();
    assert_eq!(receive(&hold, &mut slow, &limits()).await, Err(Stopped::Ended));
    drop(hold);
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert!(matches!(rig.recorded()[..], [Ok(_), Err(_)]));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_wants_any_more_ends() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (_sender, mut silent) = open();
    rig.collect.unwanted.store(true, Ordering::SeqCst);
    assert_eq!(receive(&hold, &mut silent, &limits()).await, Err(Stopped::Ended));
    assert_eq!(hold.ended().await.as_ref().as_ref().unwrap_err().reason, FailureReason::Superseded);
}
