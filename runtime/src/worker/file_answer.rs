//! Answers with a sandbox's file, copied piece by piece as the connection takes it: an unread answer holds a few pieces,
//! however long the file is, and holes take no memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use cofferdam_contract::OrganizationId;
use cofferdam_host_api::FileView;
use hyper::body::{Frame, SizeHint};

use crate::unsent::Unsent;

/// The bytes that are copied at once.
const PIECE_BYTES: usize = 256 << 10;

/// The rest of a file.
struct Rest {
    file: FileView,
    at: u64,
    size: u64,
    unsent: Unsent,
    organization: OrganizationId,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = self.unsent.count(&self.organization, self.file.read(self.at, PIECE_BYTES));
        self.at += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size.saturating_sub(self.at))
    }
}

/// An answer with the file's bytes, which are counted as unsent piece by piece.
pub(super) fn file_answer(file: FileView, unsent: &Unsent, organization: OrganizationId) -> Response {
    let rest = Rest { at: 0, size: file.size(), file, unsent: unsent.clone(), organization };
    let mut response = Response::new(Body::new(rest));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::get;
    use cofferdam_host_api::{Base, Budget, Mounts, Quota, SystemClock, Vfs};
    use http_body_util::BodyExt;
    use hyper::server::conn::http1;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SIZE: usize = 40 << 20;

    fn vfs(budget: &Arc<Budget>) -> Vfs {
        let base = Base { mounts: Arc::new(Mounts::new()), budget: Arc::clone(budget), clock: Arc::new(SystemClock) };
        let quota = Quota { disk_bytes: 1 << 30, files: 10, open_files: 10 };
        Vfs::new(Arc::new(base), quota).unwrap()
    }

    fn content() -> Vec<u8> {
        (0..SIZE as u32 / 4).flat_map(u32::to_le_bytes).collect()
    }

    #[tokio::test]
    async fn a_file_is_answered_as_it_was_and_its_bytes_are_charged_as_long() {
        let (budget, unsent) = (Budget::new(1 << 30), Unsent::default());
        let files = vfs(&budget);
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, SIZE] {
            let written = content()[..length].to_vec();
            files.write_file("a", &written).unwrap();
            let answer = file_answer(files.view_file("a").unwrap(), &unsent, OrganizationId::default_organization());
            files.write_file("a", b"later").unwrap();
            assert_eq!(answer.body().size_hint().exact(), Some(length as u64));
            assert!(budget.used() >= length as u64);
            assert!(answer.into_body().collect().await.unwrap().to_bytes() == written);
            assert!(budget.used() < 64 << 10 && unsent.bytes() == 0, "{} {}", budget.used(), unsent.bytes());
        }
    }

    #[tokio::test]
    async fn an_unread_file_holds_a_few_pieces_and_the_count_says_so() {
        let (budget, unsent) = (Budget::new(1 << 30), Unsent::default());
        let files = vfs(&budget);
        files.write_file("a", &content()).unwrap();
        let (files, counted) = (Arc::new(files), unsent.clone());
        let route = get(move || async move {
            file_answer(files.view_file("a").unwrap(), &counted, OrganizationId::default_organization())
        });
        let (near, far) = tokio::net::UnixStream::pair().unwrap();
        let service = TowerToHyperService::new(Router::new().route("/a", route));
        let served = tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(near), service));
        let mut far = far;
        far.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut most = 0;
        for _ in 0..50 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            most = most.max(unsent.bytes());
        }
        assert!((1..=4 * PIECE_BYTES as u64).contains(&most), "{most}");
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(&content()));
        served.await.unwrap().unwrap();
        assert_eq!(unsent.bytes(), 0);
    }
}
