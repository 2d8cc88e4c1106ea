//! A server on loopback that answers with bytes of a test's own choice: nothing about HTTP is done for it.

use std::sync::{Arc, Mutex};

use cofferdam_cluster::{AnyCluster, ClusterError};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::api::{certified, clusters, id, kubeconfig, settings};

pub(crate) type Stream = TlsStream<TcpStream>;

/// Answers requests: gets the head of the first one on a connection.
type Answering = dyn Fn(String, Stream) -> BoxFuture<'static, ()> + Send + Sync;

pub(crate) struct Raw {
    pub port: u16,
    pub authority: String,
    /// The heads of the requests.
    pub heads: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Raw {
    pub(crate) async fn start<F>(answer: impl Fn(String, Stream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (authority, config) = certified();
        Self::with(authority, config, answer).await
    }

    pub(crate) async fn with<F>(
        authority: String,
        config: ServerConfig,
        answer: impl Fn(String, Stream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let answer: Arc<Answering> = Arc::new(move |head, stream| Box::pin(answer(head, stream)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, heads) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&kept));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let Some(head) = head(&mut stream).await else { return };
                    heads.lock().unwrap().push(head.clone());
                    answer(head, stream).await;
                });
            }
        });
        Self { port, authority, heads, serving }
    }

    pub(crate) fn cluster(&self) -> AnyCluster {
        settings(&kubeconfig(self.port, &self.authority)).connect(&clusters()).unwrap()
    }

    pub(crate) async fn see(&self) -> Result<(), ClusterError> {
        self.cluster().see(&id()).await.map(drop)
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads the head of a request without a body.
pub(crate) async fn head(stream: &mut Stream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Writes all of it, however slowly it is read; the other side may be gone.
pub(crate) async fn write(stream: &mut Stream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok()
}

/// An answer with a length.
pub(crate) fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
