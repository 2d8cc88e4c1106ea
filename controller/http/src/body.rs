//! Reads the body of a request, bounded in size and in time, so that a slow sender cannot hold a handler.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use cofferdam_contract::Problem;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::ApiError;

/// The time for a body. A body gets more only while it arrives at [`BYTES_PER_SECOND`] on average.
const BODY_TIME: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND: u64 = 64 << 10;
/// The longest silence in the middle of a body.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The bytes of a too large body that are read before the response.
const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// Reads a whole body of at most `most` bytes.
///
/// # Errors
/// [`Problem::too_large`], [`Problem::slow_request`], [`Problem::unsupported_media`] for an encoded one,
/// [`Problem::malformed`] for one that is cut off.
pub async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, ApiError> {
    if headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return Err(Problem::unsupported_media("Content-Encoding is not supported: send the body as it is.").into());
    }
    let too_large = || ApiError::from(Problem::too_large(format!("A body may have at most {most} bytes.")));
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let mut body = body;
    if announced.is_some_and(|length| length > most as u64) {
        discard(&mut body).await;
        return Err(too_large());
    }
    let start = Instant::now();
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut received = 0_u64;
    loop {
        let allowed = BODY_TIME.max(Duration::from_secs(received / BYTES_PER_SECOND));
        let deadline = (start + allowed).min(Instant::now() + MAX_SILENCE);
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => {
                let detail = format!("{received} bytes of the body arrived before it became too slow; send it faster.");
                return Err(Problem::slow_request(detail).into());
            }
            Ok(Some(Err(e))) => return Err(Problem::malformed(format!("The body was cut off: {e}")).into()),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        received += data.len() as u64;
        if received > most as u64 {
            discard(&mut body).await;
            return Err(too_large());
        }
        // A body in a single piece, as nearly all are, is not copied.
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            Some(piece) => {
                rest.reserve(announced.and_then(|n| usize::try_from(n).ok()).unwrap_or(piece.len() + data.len()));
                rest.extend_from_slice(&piece);
                rest.extend_from_slice(&data);
            }
            None => rest.extend_from_slice(&data),
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

/// Reads and discards the rest for a while. Most clients read the response only after sending everything, and lose it if
/// the connection is closed before.
async fn discard(body: &mut Body) {
    let read = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > MAX_DISCARDED_BYTES {
                return;
            }
        }
    };
    // The response is the same either way.
    let _ = tokio::time::timeout(MAX_SILENCE, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn pieces(list: Vec<&'static [u8]>) -> Body {
        Body::from_stream(stream::iter(
            list.into_iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece))),
        ))
    }

    #[tokio::test]
    async fn pieces_come_together_within_the_bound() {
        let none = HeaderMap::new();
        assert_eq!(read(&none, pieces(vec![b"ab", b"", b"cd", b"e"]), 5).await.unwrap(), "abcde");
        assert_eq!(read(&none, pieces(vec![]), 5).await.unwrap(), "");
        let error = read(&none, pieces(vec![b"abc", b"def"]), 5).await.unwrap_err();
        assert_eq!(error.problem().status, 413);
        let mut gzip = HeaderMap::new();
        gzip.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        let error = read(&gzip, pieces(vec![b"abc"]), 5).await.unwrap_err();
        assert_eq!(error.problem().status, 415);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let start = Instant::now();
        let error = read(&HeaderMap::new(), silent, 5).await.unwrap_err();
        assert_eq!(error.problem().status, 408);
        assert_eq!(start.elapsed().as_secs(), MAX_SILENCE.as_secs());
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let start = Instant::now();
        let error = read(&HeaderMap::new(), Body::from_stream(Box::pin(drip)), 1 << 20).await.unwrap_err();
        assert_eq!(error.problem().status, 408);
        assert_eq!(start.elapsed(), BODY_TIME);
    }
}
