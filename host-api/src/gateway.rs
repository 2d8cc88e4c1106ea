//! The only way out: requests that the gateway carries out for a sandbox (`cofferdam_contract::uplink`).
//!
//! Opens no connection. The runtime provides a [`Gateway`] over an uplink that a controller opened.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use cofferdam_contract::uplink::TOKEN_HEADER;
use http::{HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};

/// A body that is produced or consumed as a stream.
pub type GatewayBody = UnsyncBoxBody<Bytes, GatewayError>;
pub type GatewayFuture = Pin<Box<dyn Future<Output = Result<Response<GatewayBody>, GatewayError>> + Send>>;

/// A request or a body failed without an answer from the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// No controller has an uplink here, or the token's controller is gone.
    #[error("no gateway is connected")]
    Unreachable,
    /// The uplink or the request broke.
    #[error("the connection to the gateway broke")]
    Broken,
    /// The guest abandoned its request body.
    #[error("the request's body was abandoned before it was finished")]
    Abandoned,
    /// The request's URL or headers exceed their bounds.
    #[error("the request's URL or headers are too long")]
    LongHead,
    /// The answer exceeds its bound.
    #[error("the answer is too long")]
    TooLong,
    #[error("the token cannot be sent")]
    Token,
}

/// Carries requests to the gateway. A request's URI is only a path.
pub trait Gateway: Send + Sync {
    /// May be polled from any thread, and starts with the first poll at the latest. After the response's head, the
    /// gateway pulls the request's body. Dropping the future or the response's body cancels the request.
    fn send(&self, request: Request<GatewayBody>) -> GatewayFuture;
}

/// The gateway with the token of one run.
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

    /// Posts JSON to a path and reads the whole answer, of at most `max` bytes.
    pub async fn post(&self, path: &str, json: Bytes, max: usize) -> Result<Response<Bytes>, GatewayError> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(json);
        self.exchange(request.map_err(|_| GatewayError::Unreachable)?, max).await
    }

    /// Sends a request and reads the whole answer, of at most `max` bytes.
    pub async fn exchange(&self, request: Request<Bytes>, max: usize) -> Result<Response<Bytes>, GatewayError> {
        let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        let (head, body) = self.send(request).await?.into_parts();
        let bytes = Limited::new(body, max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { GatewayError::TooLong } else { GatewayError::Broken }
        })?;
        Ok(Response::from_parts(head, bytes.to_bytes()))
    }
}
