//! `wasi:http` (`types` and `outgoing-handler`): requests go to the gateway and nowhere else.
//!
//! Opens no connection, resolves no name, and enforces no policy; the gateway does. Bodies stream both ways through
//! bounded buffers.

mod bindings;
mod error;
mod exchange;
mod fields;
mod handler;
mod incoming;
mod options;
mod outgoing;
mod pipe;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bindings::types::{self, ErrorCode, HeaderError};
use cofferdam_contract::uplink::{MAX_HEADER_BYTES, MAX_HEADERS};
use http::{HeaderMap, Response};
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_io::poll::{DynPollable, subscribe};

use crate::{
    capabilities::Capability,
    gateway::GatewayBody,
    sandbox::{Sandbox, SandboxView, full_is_a_limit},
    stdio::Stdio,
    wasi::HasSandbox,
};
pub use error::{HeaderFailure, HttpFailure};
pub use exchange::FutureIncomingResponse;
pub use fields::Fields;
pub use incoming::{FutureTrailers, IncomingBody, IncomingResponse};
pub use options::RequestOptions;
pub use outgoing::{OutgoingBody, OutgoingRequest, OutgoingResponse};

/// Uninhabited: stands for resources of incoming requests, which do not exist here.
pub enum Never {}

/// `wasi:http`, outbound.
pub(crate) struct OutgoingHttp;

impl<T: SandboxView + 'static> Capability<T> for OutgoingHttp {
    fn imports(&self) -> &'static [&'static str] {
        &["wasi:http/types@0.2.12", "wasi:http/outgoing-handler@0.2.12"]
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        types::add_to_linker::<T, HasSandbox>(linker, T::sandbox)?;
        bindings::outgoing_handler::add_to_linker::<T, HasSandbox>(linker, T::sandbox)
    }
}

impl types::Host for Sandbox {
    fn convert_error_code(&mut self, failure: HttpFailure) -> wasmtime::Result<ErrorCode> {
        failure.convert()
    }

    fn convert_header_error(&mut self, failure: HeaderFailure) -> wasmtime::Result<HeaderError> {
        failure.convert()
    }

    fn http_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().cloned())
    }
}

/// The headers that the guest may see.
fn visible(mut headers: HeaderMap) -> Result<HeaderMap, ErrorCode> {
    let hidden: Vec<_> = headers.keys().filter(|name| fields::forbidden(name)).cloned().collect();
    for name in hidden {
        headers.remove(name);
    }
    let bytes = fields::bytes(&headers);
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(ErrorCode::HttpResponseHeaderSectionSize(u32::try_from(bytes).ok()));
    }
    Ok(headers)
}

type Answered = Result<Resource<IncomingResponse>, ErrorCode>;

impl Sandbox {
    fn response(
        &mut self,
        response: Response<GatewayBody>,
        reader: impl FnOnce(GatewayBody) -> incoming::Reader,
    ) -> wasmtime::Result<Answered> {
        let (head, body) = response.into_parts();
        let headers = match visible(head.headers) {
            Ok(headers) => Arc::new(headers),
            Err(code) => return Ok(Err(code)),
        };
        let response = IncomingResponse::new(head.status.as_u16(), headers, reader(body), &self.held)?;
        self.push(response).map(Ok)
    }
}

impl types::HostFutureIncomingResponse for Sandbox {
    fn subscribe(&mut self, future: Resource<FutureIncomingResponse>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, future).map_err(full_is_a_limit)
    }

    fn get(&mut self, future: Resource<FutureIncomingResponse>) -> wasmtime::Result<Option<Result<Answered, ()>>> {
        let future = self.table.get_mut(&future)?;
        let between = future.between;
        let answered = match future.take() {
            None => return Ok(None),
            Some(Err(())) => return Ok(Some(Err(()))),
            Some(Ok(Ok((response, place)))) => {
                self.response(response, |body| incoming::Reader::new(body, between, place))?
            }
            Some(Ok(Err(failed))) => {
                if let Some(detail) = failed.detail {
                    self.output.write_text(Stdio::Stderr, &format!("gateway: {detail}\n"))?;
                }
                Err(failed.code)
            }
        };
        Ok(Some(Ok(answered)))
    }

    fn drop(&mut self, future: Resource<FutureIncomingResponse>) -> wasmtime::Result<()> {
        self.table.delete(future)?;
        Ok(())
    }
}

impl types::HostIncomingRequest for Sandbox {
    fn method(&mut self, request: Resource<Never>) -> wasmtime::Result<types::Method> {
        match *self.table.get(&request)? {}
    }

    fn path_with_query(&mut self, request: Resource<Never>) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&request)? {}
    }

    fn scheme(&mut self, request: Resource<Never>) -> wasmtime::Result<Option<types::Scheme>> {
        match *self.table.get(&request)? {}
    }

    fn authority(&mut self, request: Resource<Never>) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&request)? {}
    }

    fn headers(&mut self, request: Resource<Never>) -> wasmtime::Result<Resource<Fields>> {
        match *self.table.get(&request)? {}
    }

    fn consume(&mut self, request: Resource<Never>) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        match *self.table.get(&request)? {}
    }

    fn drop(&mut self, request: Resource<Never>) -> wasmtime::Result<()> {
        match self.table.delete(request)? {}
    }
}

impl types::HostResponseOutparam for Sandbox {
    fn set(
        &mut self,
        param: Resource<Never>,
        _: Result<Resource<OutgoingResponse>, ErrorCode>,
    ) -> wasmtime::Result<()> {
        match self.table.delete(param)? {}
    }

    fn drop(&mut self, param: Resource<Never>) -> wasmtime::Result<()> {
        match self.table.delete(param)? {}
    }
}
