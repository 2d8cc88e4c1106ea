//! The one way out: requests that the gateway carries out on a sandbox's behalf (`cofferdam_contract::uplink`).
//!
//! Opens no connection; the runtime gives a [`Gateway`] over the uplink that a controller has opened to it.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use cofferdam_contract::uplink::TOKEN_HEADER;
use http::{HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};

/// A body that is made or read while it is under way.
pub type GatewayBody = UnsyncBoxBody<Bytes, GatewayError>;
pub type GatewayFuture = Pin<Box<dyn Future<Output = Result<Response<GatewayBody>, GatewayError>> + Send>>;

/// Why a request or a body came to nothing without a word of the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// No controller has opened an uplink, or the token names one that is gone.
    #[error("there is no way out")]
    Unreachable,
    /// The uplink, or the request on it, ended in the middle.
    #[error("the connection to the gateway broke")]
    Broken,
    /// The guest gave its own request's body up.
    #[error("the request's body was given up before it was finished")]
    Abandoned,
    /// An answer is longer than it may be.
    #[error("the answer is too long")]
    TooLong,
    #[error("the token cannot be sent")]
    Token,
}

/// Carries requests to the gateway. The URI of a request is a path alone.
pub trait Gateway: Send + Sync {
    /// May be polled from any thread, and starts no later than with the first poll. From the response's head on, the
    /// request's body is the gateway's to pull; dropping the future or the response's body gives the request up.
    fn send(&self, request: Request<GatewayBody>) -> GatewayFuture;
}

/// The gateway as one run may use it.
#[derive(Clone)]
pub struct GatewayHandle {
    gateway: Arc<dyn Gateway>,
    token: HeaderValue,
}

impl GatewayHandle {
    pub fn new(gateway: Arc<dyn Gateway>, token: &str) -> Result<Self, GatewayError> {
        let mut token = HeaderValue::from_str(token).map_err(|_| GatewayError::Token)?;
        token.set_sensitive(true);
        Ok(Self { gateway, token })
    }

    /// Sends a request with the run's token.
    pub fn send(&self, mut request: Request<GatewayBody>) -> GatewayFuture {
        request.headers_mut().insert(HeaderName::from_static(TOKEN_HEADER), self.token.clone());
        self.gateway.send(request)
    }

    /// Sends JSON to a path and reads the whole answer, which may have `max` bytes.
    pub async fn post(&self, path: &str, json: Bytes, max: usize) -> Result<Response<Bytes>, GatewayError> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(json);
        self.exchange(request.map_err(|_| GatewayError::Unreachable)?, max).await
    }

    /// Sends a request and reads the whole answer, which may have `max` bytes.
    pub async fn exchange(&self, request: Request<Bytes>, max: usize) -> Result<Response<Bytes>, GatewayError> {
        let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        let (head, body) = self.send(request).await?.into_parts();
        let bytes = Limited::new(body, max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { GatewayError::TooLong } else { GatewayError::Broken }
        })?;
        Ok(Response::from_parts(head, bytes.to_bytes()))
    }
}
