//! Bodies that are too long, too slow, silent or revoked.

use std::convert::Infallible;

use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};

use super::*;

fn bounds(max_bytes: u64, deadline_s: u64, idle_s: Option<u64>) -> Bounds {
    Bounds {
        max_bytes,
        deadline: Instant::now() + Duration::from_secs(deadline_s),
        idle: idle_s.map(Duration::from_secs),
        revoked: CancellationToken::new(),
    }
}

/// A byte each second, without end.
fn drip() -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    let bytes = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
    });
    StreamBody::new(bytes.boxed())
}

fn silent() -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    StreamBody::new(stream::pending())
}

async fn end<B>(body: Bounded<B>) -> Result<usize, String>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let reason = body.reason();
    let result = body.collect().await.map(|all| all.to_bytes().len()).map_err(|e| e.to_string());
    assert_eq!(reason.get().map(ToString::to_string), result.clone().err());
    result
}

#[tokio::test(start_paused = true)]
async fn slow_silent_and_endless_bodies_end() {
    assert!(end(Bounded::new(drip(), bounds(1 << 20, 30, Some(2)), None, None)).await.unwrap_err().contains("time"));
    assert!(end(Bounded::new(drip(), bounds(5, 30, Some(2)), None, None)).await.unwrap_err().contains("5 bytes"));
    assert!(end(Bounded::new(silent(), bounds(5, 30, Some(2)), None, None)).await.unwrap_err().contains("2 s"));
    assert!(end(Bounded::new(silent(), bounds(5, 30, None), None, None)).await.unwrap_err().contains("time"));
    let revoked = bounds(5, 30, None);
    let token = revoked.revoked.clone();
    let body = tokio::spawn(end(Bounded::new(silent(), revoked, None, None)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    token.cancel();
    assert!(body.await.unwrap().unwrap_err().contains("ended"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_no_silence_of_the_other_side() {
    let pieces = stream::iter((0..3).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc")))));
    let mut body = Bounded::new(StreamBody::new(pieces), bounds(9, 100, Some(2)), None, None);
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        seen += frame.unwrap().into_data().unwrap().len();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(seen, 9);
}
