//! Converts failures to an error code for the guest, or to a trap.

use cofferdam_contract::uplink::RefusedBy;
use wasmtime_wasi_io::streams::StreamError;

use super::bindings::types::{DnsErrorPayload, ErrorCode, HeaderError};
use crate::{failure::Failure, gateway::GatewayError};

pub type HttpFailure = Failure<ErrorCode>;
pub type HeaderFailure = Failure<HeaderError>;

impl From<ErrorCode> for HttpFailure {
    fn from(code: ErrorCode) -> Self {
        Self::Guest(code)
    }
}

impl From<HeaderError> for HeaderFailure {
    fn from(error: HeaderError) -> Self {
        Self::Guest(error)
    }
}

pub(super) fn internal(text: impl Into<String>) -> ErrorCode {
    ErrorCode::InternalError(Some(text.into()))
}

/// The error code for a refusal by the gateway.
pub(super) fn refused(by: RefusedBy) -> ErrorCode {
    match by {
        RefusedBy::Policy => ErrorCode::HttpRequestDenied,
        RefusedBy::PrivateAddress => ErrorCode::DestinationIpProhibited,
        RefusedBy::Dns => ErrorCode::DnsError(DnsErrorPayload { rcode: None, info_code: None }),
        RefusedBy::Connect => ErrorCode::DestinationUnavailable,
        RefusedBy::Timeout => ErrorCode::HttpResponseTimeout,
        RefusedBy::TooLarge => ErrorCode::HttpResponseBodySize(None),
        RefusedBy::Malformed | RefusedBy::Conflict => ErrorCode::HttpProtocolError,
        RefusedBy::Token => internal("the run is over"),
        RefusedBy::Internal => internal("the gateway failed"),
    }
}

impl From<GatewayError> for ErrorCode {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Broken | GatewayError::Abandoned => Self::ConnectionTerminated,
            GatewayError::TooLong => Self::HttpResponseBodySize(None),
            GatewayError::LongHead => Self::HttpRequestHeaderSectionSize(None),
            GatewayError::Unreachable | GatewayError::Token => internal(error.to_string()),
        }
    }
}

/// A stream error in which `http-error-code` finds the code.
pub(super) fn failed(code: ErrorCode) -> StreamError {
    StreamError::LastOperationFailed(code.into())
}
