//! A connection whose writes fail once the other side has taken nothing for a while: an answer that nobody reads must
//! not be kept for ever. The controller has the same for its clients; it gives up earlier, so this is for one that hangs.
//!
//! A timer exists only while a write waits. Never looks at what is written, and never limits reads.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose writes have to make progress.
pub(crate) struct Progress<S> {
    stream: S,
    write_timeout: Duration,
    write: Stall,
    flush: Stall,
}

/// The timer of an operation that waits.
#[derive(Default)]
struct Stall(Option<Pin<Box<Sleep>>>);

impl Stall {
    fn judge<T>(&mut self, polled: Poll<Result<T>>, timeout: Duration, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if polled.is_ready() {
            self.0 = None;
            return polled;
        }
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(timeout)));
        timer.as_mut().poll(cx).map(|()| Err(Error::new(ErrorKind::TimedOut, "the answer is not being read")))
    }
}

impl<S> Progress<S> {
    /// Writes fail after `write_timeout` in which no byte was taken.
    pub(crate) fn new(stream: S, write_timeout: Duration) -> Self {
        Self { stream, write_timeout, write: Stall::default(), flush: Stall::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.write.judge(polled, this.write_timeout, cx)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.write.judge(polled, this.write_timeout, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.flush.judge(polled, this.write_timeout, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.flush.judge(polled, this.write_timeout, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(400);

    #[tokio::test]
    async fn a_write_that_nobody_reads_fails() {
        let (near, _far) = duplex(8);
        let mut near = Progress::new(near, TIMEOUT);
        let start = Instant::now();
        let error = near.write_all(&[1; 64]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= TIMEOUT);
    }

    #[tokio::test]
    async fn a_slow_reader_and_an_idle_connection_are_served() {
        let (near, mut far) = duplex(8);
        let mut near = Progress::new(near, TIMEOUT);
        let writer = tokio::spawn(async move {
            near.write_all(&[1; 40]).await?;
            sleep(TIMEOUT * 2).await;
            near.write_all(&[2; 8]).await
        });
        let mut piece = [0; 8];
        for _ in 0..6 {
            sleep(TIMEOUT / 4).await;
            far.read_exact(&mut piece).await.unwrap();
        }
        writer.await.unwrap().unwrap();
        assert_eq!(piece, [2; 8]);
    }
}
