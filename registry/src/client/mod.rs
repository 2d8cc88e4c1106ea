//! A client for one registry: the OCI distribution protocol, with retries where they are safe. Credentials go only to
//! the registry and its token service, redirects are followed only for reads, and everything that is read is bounded.

mod auth;
pub mod backoff;
mod blobs;
mod causes;
mod challenge;
pub mod credentials;
pub mod docker_config;
pub mod documents;
pub mod error;
mod flow;
mod given;
mod location;
mod manifests;
mod proxy;
mod tls;
mod trust;
mod upload;
mod ways;
mod wire;
mod words;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::reference::Reference;
use auth::Auth;
use backoff::{Backoff, Patience};
use credentials::Credentials;
use error::{ClientError, Kind};
use ways::Ways;
use wire::{Answer, Ask, Wire};

pub use blobs::Mounted;
pub use flow::Flow;
pub use manifests::{Manifest, Resolved, ResolvedImage};
pub use upload::{Sent, Upload};
pub(crate) use ways::CHUNK;

const MAX_HOPS: usize = 5;

/// The location of an image, and how to access it.
#[derive(Debug, Clone)]
pub struct Target {
    pub reference: Reference,
    pub credentials: Credentials,
    /// HTTP without TLS, for registries in a cluster or on this machine.
    pub plain_http: bool,
    /// Certificates (PEM) to trust besides the system's.
    pub ca: Option<Bytes>,
    /// The registry's token service, if it is another owner's or on a port of its own: `HOST` or `HOST:PORT`.
    pub token_host: Option<String>,
    pub patience: Patience,
}

impl Target {
    pub fn new(reference: Reference) -> Self {
        Self {
            reference,
            credentials: Credentials::Anonymous,
            plain_http: false,
            ca: None,
            token_host: None,
            patience: Patience::default(),
        }
    }
}

#[derive(Debug)]
pub struct Client {
    wire: Wire,
    auth: Auth,
    ways: Ways,
    reference: Reference,
}

impl Client {
    /// Does not contact the registry yet.
    ///
    /// # Errors
    /// The CA file has no valid certificate.
    pub fn new(target: &Target) -> Result<Self, ClientError> {
        let auth = Auth::new(target.credentials.clone(), target.token_host.clone());
        let ways = Ways::new(target.reference.host());
        Ok(Self { wire: Wire::new(target)?, auth, ways, reference: target.reference.clone() })
    }

    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Checks that the registry exists and accepts our credentials for a push, as far as it reveals that beforehand.
    ///
    /// # Errors
    /// No registry there, or it refuses the credentials.
    pub async fn check(&self) -> Result<(), ClientError> {
        self.auth.header(&self.wire, &self.pushing()).await.map(drop)
    }

    /// The retries of one request. All of a client's share the time that the registry may ask to wait for.
    pub(crate) fn backoff(&self) -> Backoff<'_> {
        self.wire.backoff()
    }

    fn pushing(&self) -> String {
        auth::scope(self.reference.repository(), "pull,push")
    }

    fn pulling(&self) -> String {
        auth::scope(self.reference.repository(), "pull")
    }

    fn path(&self, rest: &str) -> Result<url::Url, ClientError> {
        self.wire.url(&format!("{}/{rest}", self.reference.repository()))
    }

    /// Sends a request with our credentials, and once more if the registry asks for other ones. The answer may be a
    /// refusal.
    async fn ask(&self, ask: &Ask, scope: &str) -> Result<Answer, ClientError> {
        if !self.wire.is_own(&ask.url) {
            return self.wire.send(ask, None).await;
        }
        let sent = self.auth.header(&self.wire, scope).await?;
        let answer = self.wire.send(ask, sent.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        match self.auth.again(&self.wire, scope, &answer.headers, sent.as_ref()).await? {
            Some(next) => {
                answer.done().await;
                self.wire.send(ask, Some(next)).await
            }
            None => Ok(answer),
        }
    }

    /// Turns a refusal into an error that contains nothing we sent.
    async fn refused(&self, answer: Answer) -> ClientError {
        let secrets = self.auth.secrets().await;
        let elsewhere = answer.is_elsewhere();
        let error = self.wire.refusal(answer, &secrets).await;
        // Its storage got no credentials of ours, so ours are not what it refuses.
        if elsewhere && matches!(error.kind, Kind::Unauthorized | Kind::Forbidden) {
            return ClientError { kind: Kind::Refused, ..error }.advise(
                "That is the registry's storage, and it refuses the address that the registry made: its owner has to look \
                 at their clocks, keys and rights",
            );
        }
        error
    }

    /// Retries until the status satisfies `wanted`. For idempotent requests.
    async fn persist(
        &self,
        ask: &Ask,
        scope: &str,
        wanted: impl Fn(StatusCode) -> bool,
    ) -> Result<Answer, ClientError> {
        let mut backoff = self.backoff();
        loop {
            let error = match self.ask(ask, scope).await {
                Ok(answer) if wanted(answer.status) => return Ok(answer),
                Ok(answer) => self.refused(answer).await,
                Err(error) => error,
            };
            backoff.wait(error).await?;
        }
    }

    /// Like `persist` for reads, which a registry may redirect to its storage. Follows a few redirects, and never sends
    /// credentials to another host.
    async fn read(
        &self,
        mut ask: Ask,
        scope: &str,
        wanted: impl Fn(StatusCode) -> bool,
    ) -> Result<Answer, ClientError> {
        debug_assert!(ask.method == Method::GET || ask.method == Method::HEAD);
        for _ in 0..=MAX_HOPS {
            let answer = self.persist(&ask, scope, |status| wanted(status) || is_redirect(status)).await?;
            if !is_redirect(answer.status) {
                return Ok(answer);
            }
            ask.url = self.wire.location(&ask.url, &answer.headers, ask.about)?;
            answer.done().await;
        }
        Err(self.wire.error(Kind::Protocol, format!("it redirects {} in a circle", ask.about)))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
