//! The outgoing side: requests and their bodies. Guests can also create responses, but these are never sent.
//!
//! Validates what needs no gateway. Does not decide who may be contacted.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use cofferdam_contract::uplink::MAX_HEADER_BYTES;
use http::{
    HeaderMap, StatusCode,
    header::CONTENT_LENGTH,
    uri::{self, PathAndQuery},
};
use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{DynOutputStream, OutputStream, StreamError, StreamResult},
};

use super::{
    Fields, HttpFailure,
    bindings::types::{HostOutgoingBody, HostOutgoingRequest, HostOutgoingResponse, Method, Scheme},
    error::{failed, internal},
    pipe::{MAX_IN_FLIGHT, Pipe},
};
use crate::{
    hold::Hold,
    sandbox::{Sandbox, table_error},
    stdio::WRITE_PERMIT,
};

const MAX_METHOD: usize = 64;
const MAX_SCHEME: usize = 64;
const MAX_AUTHORITY: usize = 512;

pub struct OutgoingRequest {
    pub(super) method: Method,
    pub(super) scheme: Option<Scheme>,
    pub(super) authority: Option<String>,
    pub(super) path: Option<String>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) body: Option<Arc<Pipe>>,
    headers_held: Hold,
    path_held: Hold,
}

pub struct OutgoingResponse {
    status: u16,
    headers: Arc<HeaderMap>,
    _held: Hold,
}

/// Abandoned when dropped before it was finished.
pub struct OutgoingBody {
    pipe: Arc<Pipe>,
    streamed: bool,
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        self.pipe.abandon();
    }
}

struct BodyStream(Arc<Pipe>);

#[async_trait]
impl Pollable for BodyStream {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_capacity(context)).await;
    }
}

#[async_trait]
impl OutputStream for BodyStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(&bytes).map_err(failed)
    }

    /// A no-op: written bytes count as sent, because the gateway reads them when it is ready.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.0.capacity().ok_or(StreamError::Closed)?.min(WRITE_PERMIT))
    }

    async fn write_ready(&mut self) -> StreamResult<usize> {
        if self.0.stuck() {
            return Err(failed(internal("the body's buffer is full; send the request to write more")));
        }
        self.ready().await;
        self.check_write()
    }
}

/// The `content-length`, if present. An error if it is not a number, or given several times.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(()),
    }
}

fn method_ok(method: &Method) -> bool {
    match method {
        Method::Other(name) => name.len() <= MAX_METHOD && http::Method::from_bytes(name.as_bytes()).is_ok(),
        _ => true,
    }
}

/// Host and optional port, without user info.
fn authority_ok(text: &str) -> bool {
    let parsed = || text.parse::<uri::Authority>().ok().filter(|authority| !authority.host().is_empty());
    text.len() <= MAX_AUTHORITY && !text.contains('@') && parsed().is_some()
}

fn path_ok(text: &str) -> bool {
    let begins = text.is_empty() || text.starts_with(['/', '?']);
    begins && text.is_ascii() && !text.contains('#') && (text.is_empty() || text.parse::<PathAndQuery>().is_ok())
}

fn allowed(yes: bool) -> Result<(), ()> {
    if yes { Ok(()) } else { Err(()) }
}

impl HostOutgoingRequest for Sandbox {
    fn new(&mut self, headers: Resource<Fields>) -> wasmtime::Result<Resource<OutgoingRequest>> {
        let (headers, headers_held) = self.table.delete(headers)?.into_parts();
        let path_held = self.held.hold(0)?;
        let (method, scheme, authority, path, body) = (Method::Get, None, None, None, None);
        self.push(OutgoingRequest { method, scheme, authority, path, headers, body, headers_held, path_held })
    }

    fn body(&mut self, request: Resource<OutgoingRequest>) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        let request = self.table.get_mut(&request)?;
        let (None, Ok(length)) = (&request.body, content_length(&request.headers)) else { return Ok(Err(())) };
        let pipe = Pipe::new(length, self.held.hold(MAX_IN_FLIGHT)?);
        request.body = Some(Arc::clone(&pipe));
        self.push(OutgoingBody { pipe, streamed: false }).map(Ok)
    }

    fn method(&mut self, request: Resource<OutgoingRequest>) -> wasmtime::Result<Method> {
        Ok(self.table.get(&request)?.method.clone())
    }

    fn set_method(&mut self, request: Resource<OutgoingRequest>, method: Method) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&request)?;
        let ok = method_ok(&method);
        if ok {
            request.method = method;
        }
        Ok(allowed(ok))
    }

    fn path_with_query(&mut self, request: Resource<OutgoingRequest>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&request)?.path.clone())
    }

    fn set_path_with_query(
        &mut self,
        request: Resource<OutgoingRequest>,
        path: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&request)?;
        let text = path.as_deref().unwrap_or_default();
        // Keeps paths that are somewhat too long, so that sending them gives an error code that says so.
        let ok = text.len() <= 2 * MAX_HEADER_BYTES && path_ok(text);
        if ok {
            request.path_held.resize(text.len())?;
            request.path = path;
        }
        Ok(allowed(ok))
    }

    fn scheme(&mut self, request: Resource<OutgoingRequest>) -> wasmtime::Result<Option<Scheme>> {
        Ok(self.table.get(&request)?.scheme.clone())
    }

    fn set_scheme(
        &mut self,
        request: Resource<OutgoingRequest>,
        scheme: Option<Scheme>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&request)?;
        let ok = match &scheme {
            Some(Scheme::Other(name)) => (1..=MAX_SCHEME).contains(&name.len()) && name.parse::<uri::Scheme>().is_ok(),
            _ => true,
        };
        if ok {
            request.scheme = scheme;
        }
        Ok(allowed(ok))
    }

    fn authority(&mut self, request: Resource<OutgoingRequest>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&request)?.authority.clone())
    }

    fn set_authority(
        &mut self,
        request: Resource<OutgoingRequest>,
        authority: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&request)?;
        let ok = authority.as_deref().is_none_or(authority_ok);
        if ok {
            request.authority = authority;
        }
        Ok(allowed(ok))
    }

    fn headers(&mut self, request: Resource<OutgoingRequest>) -> wasmtime::Result<Resource<Fields>> {
        let headers = Arc::clone(&self.table.get(&request)?.headers);
        let fields = Fields::new(headers, false, &self.held)?;
        self.push(fields)
    }

    fn drop(&mut self, request: Resource<OutgoingRequest>) -> wasmtime::Result<()> {
        // Otherwise a writer of the body would wait for a reader that never comes.
        if let Some(pipe) = self.table.delete(request)?.body {
            pipe.abandon();
        }
        Ok(())
    }
}

impl OutgoingRequest {
    /// The headers and their share of the memory account.
    pub(super) fn take_headers(self) -> (HeaderMap, Hold) {
        (Arc::unwrap_or_clone(self.headers), self.headers_held)
    }
}

impl HostOutgoingBody for Sandbox {
    fn write(&mut self, body: Resource<OutgoingBody>) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let outgoing = self.table.get_mut(&body)?;
        if std::mem::replace(&mut outgoing.streamed, true) {
            return Ok(Err(()));
        }
        let stream: DynOutputStream = Box::new(BodyStream(Arc::clone(&outgoing.pipe)));
        self.table.push_child(stream, &body).map(Ok).map_err(table_error)
    }

    fn finish(&mut self, body: Resource<OutgoingBody>, trailers: Option<Resource<Fields>>) -> Result<(), HttpFailure> {
        let body = self.table.delete(body)?;
        if let Some(trailers) = trailers
            && !self.table.delete(trailers)?.into_parts().0.is_empty()
        {
            return Err(internal("trailers are not sent").into());
        }
        Ok(body.pipe.finish()?)
    }

    fn drop(&mut self, body: Resource<OutgoingBody>) -> wasmtime::Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}

impl HostOutgoingResponse for Sandbox {
    fn new(&mut self, headers: Resource<Fields>) -> wasmtime::Result<Resource<OutgoingResponse>> {
        let (headers, held) = self.table.delete(headers)?.into_parts();
        self.push(OutgoingResponse { status: 200, headers, _held: held })
    }

    fn status_code(&mut self, response: Resource<OutgoingResponse>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status)
    }

    fn set_status_code(
        &mut self,
        response: Resource<OutgoingResponse>,
        status: u16,
    ) -> wasmtime::Result<Result<(), ()>> {
        let response = self.table.get_mut(&response)?;
        let ok = StatusCode::from_u16(status).is_ok();
        if ok {
            response.status = status;
        }
        Ok(allowed(ok))
    }

    fn headers(&mut self, response: Resource<OutgoingResponse>) -> wasmtime::Result<Resource<Fields>> {
        let headers = Arc::clone(&self.table.get(&response)?.headers);
        let fields = Fields::new(headers, false, &self.held)?;
        self.push(fields)
    }

    fn body(&mut self, response: Resource<OutgoingResponse>) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        self.table.get(&response)?;
        Ok(Err(()))
    }

    fn drop(&mut self, response: Resource<OutgoingResponse>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}
