//! Moves a request's body into the pipeline. A frame is read only when the pipeline has room for it, so a slow registry
//! slows the client down and nothing piles up here.

use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::FailureReason;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::hold::{Hold, NotTaken};
use crate::{PushFailure, UploadLimits};

/// The reason why a body was not taken to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Another client took over.
    Replaced,
    /// The archive is larger than an image may be.
    TooLarge,
    /// The archive is larger than was announced.
    TooMuch,
    /// The client sent nothing for too long.
    Silent,
    /// The connection broke.
    Broke(String),
    /// The pipeline has ended; the session has the result.
    Ended,
}

/// Takes a body to its end.
///
/// # Errors
/// [`Stopped`]; everything received before counts.
pub async fn receive(hold: &Hold, body: &mut Body, limits: &UploadLimits) -> Result<(), Stopped> {
    let Some(pieces) = hold.pieces() else {
        if !hold.progress().complete {
            return Err(Stopped::Ended);
        }
        // The archive is complete: only an empty rest is accepted.
        return match timeout(limits.idle, body.frame()).await {
            Ok(None) => Ok(()),
            _ => Err(Stopped::Ended),
        };
    };
    loop {
        let place = tokio::select! {
            biased;
            place = timeout(limits.stall, pieces.reserve()) => match place {
                Ok(Ok(place)) => place,
                Ok(Err(_)) => return Err(Stopped::Ended),
                Err(_) => {
                    hold.give_up(stalled(limits.stall));
                    return Err(Stopped::Ended);
                }
            },
            () = hold.replaced() => return Err(Stopped::Replaced),
        };
        // Nearly every frame of a fast client is there already.
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                hold.waits_for_client(true);
                tokio::select! {
                    biased;
                    frame = timeout(limits.idle, body.frame()) => frame.map_err(|_| Stopped::Silent)?,
                    () = hold.replaced() => return Err(Stopped::Replaced),
                    () = pieces.closed() => return Err(Stopped::Ended),
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

fn stalled(stall: Duration) -> PushFailure {
    let detail =
        format!("The registry accepted no data for {} s. Check the registry, then upload again.", stall.as_secs());
    PushFailure::new(FailureReason::Registry, detail)
}
