//! `wasi:http` as a guest sees it, over in-memory gateways.

mod bodies;
mod checks;
mod component;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cofferdam_contract::{
    LimitName, Problem,
    uplink::{CONNECT_TIMEOUT_HEADER, METHOD_HEADER, REFUSED_HEADER, RefusedBy, TOKEN_HEADER, URL_HEADER},
};
use http::Response;
use wasmtime::component::Resource;
use wasmtime_wasi_io::streams::StreamError;

use super::{
    FutureIncomingResponse, IncomingBody, IncomingResponse, OutgoingRequest, RequestOptions,
    bindings::{
        outgoing_handler::Host as _,
        types::{
            DnsErrorPayload, ErrorCode, Host as _, HostFields, HostFutureIncomingResponse, HostFutureTrailers,
            HostIncomingBody, HostIncomingResponse, HostOutgoingBody, HostOutgoingRequest, HostRequestOptions, Method,
            Scheme,
        },
    },
    error::HttpFailure,
};
use crate::{
    Interrupt, Interrupted, Sandbox, Stdio, Stop,
    gateway::{GatewayError, GatewayHandle},
    testing::{TOKEN, full, gateway, piece, pieces, reading, spawned},
    wasi::{
        bindings::io::{
            poll::HostPollable,
            streams::{HostInputStream, HostOutputStream},
        },
        tests::sandbox as bare,
    },
};

fn sandbox(gateway: GatewayHandle) -> Sandbox {
    let mut sandbox = bare();
    sandbox.set_gateway(gateway);
    sandbox
}

/// A second handle to the same resource, as a call borrows it.
fn again<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

/// A request to `https://example.com/a?b=c` with these headers.
fn request(sandbox: &mut Sandbox, method: Method, headers: &[(&str, &str)]) -> Resource<OutgoingRequest> {
    let entries = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let headers = sandbox.from_list(entries).unwrap();
    let request = HostOutgoingRequest::new(sandbox, headers).unwrap();
    sandbox.set_method(again(&request), method).unwrap().unwrap();
    sandbox.set_scheme(again(&request), Some(Scheme::Https)).unwrap().unwrap();
    sandbox.set_authority(again(&request), Some("example.com".to_owned())).unwrap().unwrap();
    sandbox.set_path_with_query(again(&request), Some("/a?b=c".to_owned())).unwrap().unwrap();
    request
}

fn code<T>(result: Result<T, HttpFailure>) -> ErrorCode {
    match result {
        Err(HttpFailure::Guest(code)) => code,
        Err(HttpFailure::Trap(error)) => panic!("{error:?}"),
        Ok(_) => panic!("it went well"),
    }
}

fn same(one: &ErrorCode, other: &ErrorCode) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// Waits for a response.
fn answer(
    sandbox: &mut Sandbox,
    future: &Resource<FutureIncomingResponse>,
) -> Result<Resource<IncomingResponse>, ErrorCode> {
    let pollable = HostFutureIncomingResponse::subscribe(sandbox, again(future)).unwrap();
    sandbox.block(again(&pollable)).unwrap();
    HostPollable::drop(sandbox, pollable).unwrap();
    HostFutureIncomingResponse::get(sandbox, again(future)).unwrap().unwrap().unwrap()
}

fn fetch(sandbox: &mut Sandbox, method: Method) -> Result<Resource<IncomingResponse>, ErrorCode> {
    let request = request(sandbox, method, &[]);
    let future = sandbox.handle(request, None).unwrap();
    let answered = answer(sandbox, &future);
    HostFutureIncomingResponse::drop(sandbox, future).unwrap();
    answered
}

fn body(sandbox: &mut Sandbox, response: Resource<IncomingResponse>) -> Resource<IncomingBody> {
    let body = sandbox.consume(again(&response)).unwrap().unwrap();
    HostIncomingResponse::drop(sandbox, response).unwrap();
    body
}

/// Reads a body to its end, and returns how it ended.
fn read(sandbox: &mut Sandbox, body: &Resource<IncomingBody>, at_a_time: u64) -> (Vec<u8>, Option<ErrorCode>) {
    let stream = sandbox.stream(again(body)).unwrap().unwrap();
    let mut all = Vec::new();
    let end = loop {
        match sandbox.blocking_read(again(&stream), at_a_time) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => break None,
            Err(StreamError::LastOperationFailed(error)) => {
                let error = sandbox.push(error).unwrap();
                let code = sandbox.http_error_code(again(&error)).unwrap();
                assert!(matches!(sandbox.blocking_read(again(&stream), at_a_time), Err(StreamError::Closed)));
                break code;
            }
            Err(StreamError::Trap(error)) => panic!("{error:?}"),
        }
    };
    HostInputStream::drop(sandbox, stream).unwrap();
    (all, end)
}

#[test]
fn there_and_back() {
    let gateway = reading(|request| {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/http"));
        let header = |name| request.headers()[name].to_str().unwrap();
        assert_eq!(header(TOKEN_HEADER), TOKEN);
        assert_eq!(header(METHOD_HEADER), "GET");
        assert_eq!(header(URL_HEADER), "https://example.com/a?b=c");
        assert_eq!(header("x-one"), "1");
        assert_eq!(request.headers().len(), 4);
        assert!(request.body().is_empty());
        let response = Response::builder().status(207).header("x-two", "2").header("x-two", "3");
        let response = response.header("connection", "close").header("cofferdam-x", "y").header("keep-alive", "5");
        response.body(full("hello body")).unwrap()
    });
    let mut sandbox = sandbox(gateway);
    let sent = request(&mut sandbox, Method::Get, &[("X-One", "1")]);
    let future = sandbox.handle(sent, None).unwrap();
    let response = answer(&mut sandbox, &future).unwrap();
    assert!(HostFutureIncomingResponse::get(&mut sandbox, again(&future)).unwrap().unwrap().is_err());
    HostFutureIncomingResponse::drop(&mut sandbox, future).unwrap();
    assert_eq!(sandbox.status(again(&response)).unwrap(), 207);
    let headers = HostIncomingResponse::headers(&mut sandbox, again(&response)).unwrap();
    let seen = sandbox.entries(again(&headers)).unwrap();
    assert_eq!(seen, [("x-two".to_owned(), b"2".to_vec()), ("x-two".to_owned(), b"3".to_vec())]);
    assert!(HostFields::set(&mut sandbox, headers, "a".to_owned(), vec![]).is_err());
    let body = sandbox.consume(again(&response)).unwrap().unwrap();
    assert!(sandbox.consume(again(&response)).unwrap().is_err());
    HostIncomingResponse::drop(&mut sandbox, response).unwrap();
    let (bytes, end) = read(&mut sandbox, &body, 3);
    assert_eq!((bytes.as_slice(), end.is_none()), (b"hello body".as_slice(), true));
    let trailers = HostIncomingBody::finish(&mut sandbox, body).unwrap();
    assert!(matches!(HostFutureTrailers::get(&mut sandbox, again(&trailers)).unwrap(), Some(Ok(Ok(None)))));
    assert!(matches!(HostFutureTrailers::get(&mut sandbox, trailers).unwrap(), Some(Err(()))));
}

#[test]
fn refusals_have_codes_and_their_words_go_to_the_log() {
    let dns = ErrorCode::DnsError(DnsErrorPayload { rcode: None, info_code: None });
    for (by, expected) in [
        (RefusedBy::Policy, ErrorCode::HttpRequestDenied),
        (RefusedBy::PrivateAddress, ErrorCode::DestinationIpProhibited),
        (RefusedBy::Dns, dns),
        (RefusedBy::Connect, ErrorCode::DestinationUnavailable),
        (RefusedBy::Timeout, ErrorCode::HttpResponseTimeout),
        (RefusedBy::TooLarge, ErrorCode::HttpResponseBodySize(None)),
        (RefusedBy::Malformed, ErrorCode::HttpProtocolError),
        (RefusedBy::Token, ErrorCode::InternalError(Some("the run is over".to_owned()))),
        (RefusedBy::Internal, ErrorCode::InternalError(Some("the gateway failed".to_owned()))),
    ] {
        let mut sandbox = sandbox(reading(move |_| {
            let problem = serde_json::to_vec(&Problem::denied(format!("said {}", by.as_str()))).unwrap();
            Response::builder().status(403).header(REFUSED_HEADER, by.as_str()).body(full(problem)).unwrap()
        }));
        let log = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&log);
        sandbox.set_output(Box::new(move |_: Stdio, bytes: &[u8]| {
            theirs.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        }));
        let got = fetch(&mut sandbox, Method::Get).unwrap_err();
        assert!(same(&got, &expected), "{got:?} {expected:?}");
        assert_eq!(*log.lock().unwrap(), format!("gateway: said {}\n", by.as_str()).into_bytes());
    }
    // An upstream's header cannot pass for the gateway's: the gateway lets none through.
    let mut sandbox = sandbox(reading(|_| Response::builder().status(403).body(full("no")).unwrap()));
    let response = fetch(&mut sandbox, Method::Get).unwrap();
    assert_eq!(sandbox.status(response).unwrap(), 403);
}

#[test]
fn without_a_gateway_or_with_a_broken_one() {
    let mut sandbox = bare();
    let sent = request(&mut sandbox, Method::Get, &[]);
    let got = code(sandbox.handle(sent, None));
    assert!(matches!(got, ErrorCode::InternalError(Some(text)) if text == "no gateway is connected"));
    let mut sandbox = self::sandbox(gateway(|_| Box::pin(async { Err(GatewayError::Broken) })));
    assert!(matches!(fetch(&mut sandbox, Method::Get), Err(ErrorCode::ConnectionTerminated)));
}

#[test]
fn requests_under_way_are_bounded() {
    let mut sandbox = sandbox(gateway(|_| Box::pin(std::future::pending())));
    let mut under_way: Vec<_> = (0..32)
        .map(|_| {
            let sent = request(&mut sandbox, Method::Get, &[]);
            sandbox.handle(sent, None).unwrap()
        })
        .collect();
    let sent = request(&mut sandbox, Method::Get, &[]);
    assert!(matches!(code(sandbox.handle(sent, None)), ErrorCode::ConnectionLimitReached));
    HostFutureIncomingResponse::drop(&mut sandbox, under_way.pop().unwrap()).unwrap();
    let sent = request(&mut sandbox, Method::Get, &[]);
    sandbox.handle(sent, None).unwrap();

    // A response's body holds its slot until it ends.
    let mut sandbox = self::sandbox(reading(|_| Response::new(full("x"))));
    let mut bodies: Vec<_> = (0..32)
        .map(|_| {
            let response = fetch(&mut sandbox, Method::Get).unwrap();
            body(&mut sandbox, response)
        })
        .collect();
    let sent = request(&mut sandbox, Method::Get, &[]);
    assert!(matches!(code(sandbox.handle(sent, None)), ErrorCode::ConnectionLimitReached));
    read(&mut sandbox, &bodies[0], 10);
    fetch(&mut sandbox, Method::Get).unwrap();
    HostIncomingBody::drop(&mut sandbox, bodies.remove(0)).unwrap();
}

#[test]
fn timeouts_are_kept() {
    let slow = || {
        reading(|_| {
            let mut count = 0;
            Response::new(pieces(move || {
                count += 1;
                match count {
                    1 => piece("first"),
                    2 => (5_000, None),
                    _ => (0, None),
                }
            }))
        })
    };
    let options = |sandbox: &mut Sandbox, first: Option<u64>, between: Option<u64>| -> Resource<RequestOptions> {
        let options = HostRequestOptions::new(sandbox).unwrap();
        sandbox.set_first_byte_timeout(again(&options), first).unwrap().unwrap();
        sandbox.set_between_bytes_timeout(again(&options), between).unwrap().unwrap();
        sandbox.set_connect_timeout(again(&options), Some(20_000_000)).unwrap().unwrap();
        assert_eq!(sandbox.first_byte_timeout(again(&options)).unwrap(), first);
        options
    };
    // The response's head does not arrive.
    let mut sandbox = sandbox(gateway(|request| {
        assert_eq!(request.headers()[CONNECT_TIMEOUT_HEADER], "20");
        Box::pin(std::future::pending())
    }));
    let started = Instant::now();
    let sent = request(&mut sandbox, Method::Get, &[]);
    let opts = options(&mut sandbox, Some(30_000_000), None);
    let future = sandbox.handle(sent, Some(opts)).unwrap();
    assert!(matches!(answer(&mut sandbox, &future), Err(ErrorCode::ConnectionReadTimeout)));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(50) && took < Duration::from_secs(2), "{took:?}");
    // The next piece of the body does not arrive.
    let mut sandbox = self::sandbox(slow());
    let sent = request(&mut sandbox, Method::Get, &[]);
    let opts = options(&mut sandbox, Some(u64::MAX), Some(40_000_000));
    let future = sandbox.handle(sent, Some(opts)).unwrap();
    let response = answer(&mut sandbox, &future).unwrap();
    let incoming = body(&mut sandbox, response);
    let (bytes, end) = read(&mut sandbox, &incoming, 100);
    assert_eq!(bytes, b"first");
    assert!(matches!(end, Some(ErrorCode::ConnectionReadTimeout)), "{end:?}");
    // The run's deadline comes before the guest's timeout.
    let mut sandbox = self::sandbox(slow());
    sandbox.set_interrupt(Interrupt::new(Some(Instant::now() + Duration::from_millis(100))));
    let sent = request(&mut sandbox, Method::Get, &[]);
    let opts = options(&mut sandbox, None, Some(u64::MAX));
    let future = sandbox.handle(sent, Some(opts)).unwrap();
    let response = answer(&mut sandbox, &future).unwrap();
    let incoming = body(&mut sandbox, response);
    let stream = sandbox.stream(incoming).unwrap().unwrap();
    assert_eq!(sandbox.blocking_read(again(&stream), 100).unwrap(), b"first");
    let Err(StreamError::Trap(error)) = sandbox.blocking_read(stream, 100) else { panic!() };
    assert_eq!(error.downcast_ref(), Some(&Interrupted::Deadline));
}
