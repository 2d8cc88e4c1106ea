//! From a request's body into the pipeline: a piece is read when there is room for it, so a slow registry makes the
//! client wait, and nothing is collected here. Ends when the body does, when the client is silent for too long, when
//! another one takes over, or as soon as the pipeline has ended.

use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::FailureReason;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::session::{Hold, NotTaken};
use super::{Limits, PushFailure};

/// Why not all of a body was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Another client goes on with it.
    Replaced,
    /// More than an image may have.
    TooLarge,
    /// More than was announced.
    TooMuch,
    /// Nothing came for too long.
    Silent,
    /// The connection did not bring it to its end.
    Broke(String),
    /// The pipeline has ended: how, the session says.
    Ended,
}

/// Takes all of a body.
///
/// # Errors
/// [`Stopped`]; what was taken before counts.
pub async fn receive(hold: &Hold, body: &mut Body, limits: &Limits) -> Result<(), Stopped> {
    let Some(way) = hold.way() else {
        if !hold.progress().complete {
            return Err(Stopped::Ended);
        }
        // All of it is here already: only an empty rest goes with that.
        return match timeout(limits.idle, body.frame()).await {
            Ok(None) => Ok(()),
            _ => Err(Stopped::Ended),
        };
    };
    loop {
        let place = tokio::select! {
            biased;
            place = timeout(limits.stall, way.reserve()) => match place {
                Ok(Ok(place)) => place,
                Ok(Err(_)) => return Err(Stopped::Ended),
                Err(_) => {
                    hold.give_up(stuck(limits.stall));
                    return Err(Stopped::Ended);
                }
            },
            () = hold.replaced() => return Err(Stopped::Replaced),
        };
        let frame = match now_or_never(body).await {
            Some(frame) => frame,
            None => {
                hold.waits_for_client(true);
                tokio::select! {
                    biased;
                    frame = timeout(limits.idle, body.frame()) => frame.map_err(|_| Stopped::Silent)?,
                    () = hold.replaced() => return Err(Stopped::Replaced),
                    () = way.closed() => return Err(Stopped::Ended),
                }
            }
        };
        let frame = match frame {
            None => return Ok(()),
            Some(Err(error)) => return Err(Stopped::Broke(error.to_string())),
            Some(Ok(frame)) => frame,
        };
        let Ok(piece) = frame.into_data() else { continue };
        if piece.is_empty() {
            continue;
        }
        hold.take(place, piece, limits.image_bytes).map_err(|why| match why {
            NotTaken::Replaced => Stopped::Replaced,
            NotTaken::TooLarge => Stopped::TooLarge,
            NotTaken::TooMuch => Stopped::TooMuch,
        })?;
    }
}

fn stuck(stall: Duration) -> PushFailure {
    let detail =
        format!("The registry took nothing for {} s. Look at the registry, then upload again.", stall.as_secs());
    PushFailure::new(FailureReason::Registry, detail)
}

type Frame = Option<Result<http_body::Frame<bytes::Bytes>, axum::Error>>;

/// A frame that is there already, as nearly all are of a fast client.
async fn now_or_never(body: &mut Body) -> Option<Frame> {
    let mut frame = std::pin::pin!(body.frame());
    std::future::poll_fn(|cx| match frame.as_mut().poll(cx) {
        std::task::Poll::Ready(frame) => std::task::Poll::Ready(Some(frame)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
