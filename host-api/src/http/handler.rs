//! `outgoing-handler`: turns a guest's request into a request to the gateway.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cofferdam_contract::uplink::{
    CONNECT_TIMEOUT_HEADER, MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_BYTES, METHOD_HEADER, URL_HEADER,
};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Empty};
use wasmtime::component::Resource;

use super::{
    FutureIncomingResponse, HttpFailure, OutgoingRequest, RequestOptions,
    bindings::{
        outgoing_handler,
        types::{self, ErrorCode, Scheme},
    },
    error::internal,
    exchange::{Exchange, Place},
    fields,
    outgoing::content_length,
    pipe::PipeBody,
};
use crate::{
    gateway::{GatewayBody, GatewayError, GatewayHandle},
    sandbox::Sandbox,
};

impl outgoing_handler::Host for Sandbox {
    fn handle(
        &mut self,
        request: Resource<OutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> Result<Resource<FutureIncomingResponse>, HttpFailure> {
        let request = self.table.delete(request)?;
        let options = options.map(|options| self.table.delete(options)).transpose()?.unwrap_or_default();
        let gateway = self.gateway.clone().ok_or(GatewayError::Unreachable).map_err(ErrorCode::from)?;
        let place = Place::take(&self.requests).ok_or(ErrorCode::ConnectionLimitReached)?;
        let pipe = request.body.clone();
        let exchange = start(&gateway, request, options).inspect_err(|_| {
            // Otherwise a writer of the body would wait for a reader that never comes.
            if let Some(pipe) = pipe {
                pipe.abandon();
            }
        })?;
        Ok(self.push(FutureIncomingResponse::new(exchange, place, options.between()))?)
    }
}

fn method(method: &types::Method) -> Result<Method, ErrorCode> {
    let method = match method {
        types::Method::Get => Method::GET,
        types::Method::Head => Method::HEAD,
        types::Method::Post => Method::POST,
        types::Method::Put => Method::PUT,
        types::Method::Delete => Method::DELETE,
        types::Method::Options => Method::OPTIONS,
        types::Method::Patch => Method::PATCH,
        // CONNECT opens a tunnel, and TRACE echoes headers, which may contain a secret.
        types::Method::Connect | types::Method::Trace => return Err(ErrorCode::HttpRequestMethodInvalid),
        types::Method::Other(name) => {
            Method::from_bytes(name.as_bytes()).map_err(|_| ErrorCode::HttpRequestMethodInvalid)?
        }
    };
    // `other("TRACE")` is equivalent to `trace`.
    if [Method::CONNECT, Method::TRACE].contains(&method) || method.as_str().eq_ignore_ascii_case("track") {
        return Err(ErrorCode::HttpRequestMethodInvalid);
    }
    Ok(method)
}

fn url(request: &OutgoingRequest) -> Result<HeaderValue, ErrorCode> {
    let scheme = match &request.scheme {
        None | Some(Scheme::Https) => "https",
        Some(Scheme::Http) => "http",
        Some(Scheme::Other(_)) => return Err(ErrorCode::HttpRequestUriInvalid),
    };
    let authority = request.authority.as_deref().ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let path = request.path.as_deref().unwrap_or_default();
    let root = if path.starts_with('/') { "" } else { "/" };
    let url = format!("{scheme}://{authority}{root}{path}");
    if url.len() > MAX_URL_BYTES {
        return Err(ErrorCode::HttpRequestUriTooLong);
    }
    url.parse::<http::Uri>().map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    HeaderValue::from_str(&url).map_err(|_| ErrorCode::HttpRequestUriInvalid)
}

fn start(
    gateway: &GatewayHandle,
    request: OutgoingRequest,
    options: RequestOptions,
) -> Result<Arc<Exchange>, ErrorCode> {
    let (method, url) = (method(&request.method)?, url(&request)?);
    let bytes = fields::bytes(&request.headers);
    if request.headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(ErrorCode::HttpRequestHeaderSectionSize(u32::try_from(bytes).ok()));
    }
    let pipe = request.body.clone();
    let length = content_length(&request.headers).map_err(|()| internal("content-length is not a single number"))?;
    if pipe.is_none() && length.is_some_and(|length| length > 0) {
        return Err(ErrorCode::HttpRequestBodySize(Some(0)));
    }
    if let Some(code) = pipe.as_ref().and_then(|pipe| pipe.failure()) {
        return Err(code);
    }
    let body: GatewayBody = match &pipe {
        Some(pipe) => PipeBody(Arc::clone(pipe)).boxed_unsync(),
        None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
    };
    let mut sent = Request::new(body);
    *sent.method_mut() = Method::POST;
    *sent.uri_mut() = http::Uri::from_static("/http");
    let (headers, _held) = request.take_headers();
    *sent.headers_mut() = headers;
    let headers = sent.headers_mut();
    let method = HeaderValue::from_str(method.as_str()).map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
    headers.insert(HeaderName::from_static(METHOD_HEADER), method);
    headers.insert(HeaderName::from_static(URL_HEADER), url);
    if let Some(connect) = options.connect {
        let ms = Duration::from_nanos(connect).as_millis().max(1);
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        headers.insert(HeaderName::from_static(CONNECT_TIMEOUT_HEADER), HeaderValue::from(ms));
    }
    let until = options.head().and_then(|head| Instant::now().checked_add(head));
    Ok(Exchange::start(gateway.send(sent), until, pipe))
}
