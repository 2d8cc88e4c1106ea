//! A connection that is closed while its client still sends: the write side is closed first, and what comes is read and thrown
//! away for a moment. Without that the kernel answers unread bytes with a reset, and the client never sees its answer, such as
//! the refusal of a body that is too large.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The longest that a client is listened to after its answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest between two pieces of it: an idle client does not keep its place.
const IDLE_TIMEOUT: Duration = Duration::from_millis(300);
/// Bytes that are thrown away at once.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces between two looks at other connections of the same thread.
const MAX_PIECES: usize = 64;

pub(super) struct Linger<S> {
    stream: S,
    /// The client was refused, maybe before it had sent all of its request.
    wanted: Arc<AtomicBool>,
    /// Runs once the write side is closed.
    ending: Option<Pin<Box<Sleep>>>,
    /// No later than this.
    end: Option<Instant>,
}

impl<S> Linger<S> {
    /// Lingers at the end only if `wanted` is set by then.
    pub(super) fn new(stream: S, wanted: Arc<AtomicBool>) -> Self {
        Self { stream, wanted, ending: None, end: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linger<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ending.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if !this.wanted.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let end = *this.end.get_or_insert_with(|| Instant::now() + LINGER_TIMEOUT);
        let ending = this.ending.get_or_insert_with(|| Box::pin(sleep(IDLE_TIMEOUT)));
        if ending.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut piece = [0; PIECE_BYTES];
        for _ in 0..MAX_PIECES {
            let mut piece = ReadBuf::new(&mut piece);
            // A client that breaks off has gone, as one that closes has.
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => ending.as_mut().reset(end.min(Instant::now() + IDLE_TIMEOUT)),
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, Linger<TcpStream>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Linger::new(listener.accept().await.unwrap().0, Arc::new(AtomicBool::new(true))))
    }

    #[tokio::test]
    async fn a_client_that_still_sends_reads_its_answer() {
        let (mut client, mut server) = pair().await;
        let sent = tokio::spawn(async move {
            client.write_all(&vec![b'x'; 20 << 20]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        });
        server.write_all(b"too large").await.unwrap();
        server.shutdown().await.unwrap();
        drop(server);
        assert_eq!(sent.await.unwrap(), "too large");
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_left_soon() {
        let (client, mut server) = pair().await;
        let began = Instant::now();
        server.shutdown().await.unwrap();
        assert!(began.elapsed() < LINGER_TIMEOUT);
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_never_ends_is_left_all_the_same() {
        let (mut client, mut server) = pair().await;
        let sending = tokio::spawn(async move { while client.write_all(&[b'x'; 4_096]).await.is_ok() {} });
        let began = Instant::now();
        server.shutdown().await.unwrap();
        assert!(began.elapsed() < LINGER_TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
        drop(server);
        sending.await.unwrap();
    }
}
