//! Bodies that are large, endless, slow, broken, unfinished, or of another length than declared.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http_body::Body;
use http_body_util::BodyExt;

use super::*;
use crate::{http::pipe::MAX_IN_FLIGHT, stdio::WRITE_PERMIT};

/// A request with a body to write to.
struct Upload {
    future: Resource<FutureIncomingResponse>,
    body: Resource<super::super::OutgoingBody>,
    stream: Resource<wasmtime_wasi_io::streams::DynOutputStream>,
}

fn upload(sandbox: &mut Sandbox, headers: &[(&str, &str)]) -> Upload {
    let sent = request(sandbox, Method::Post, headers);
    let body = HostOutgoingRequest::body(sandbox, again(&sent)).unwrap().unwrap();
    assert!(HostOutgoingRequest::body(sandbox, again(&sent)).unwrap().is_err());
    let stream = HostOutgoingBody::write(sandbox, again(&body)).unwrap().unwrap();
    assert!(HostOutgoingBody::write(sandbox, again(&body)).unwrap().is_err());
    let future = sandbox.handle(sent, None).unwrap();
    Upload { future, body, stream }
}

fn finish(sandbox: &mut Sandbox, upload: Upload) -> (Resource<FutureIncomingResponse>, Result<(), HttpFailure>) {
    HostOutputStream::drop(sandbox, upload.stream).unwrap();
    (upload.future, HostOutgoingBody::finish(sandbox, upload.body, None))
}

#[test]
fn uploads_are_whole_and_wait_for_their_reader() {
    // Nothing is read before the request is in flight, so the guest may only write a bounded amount.
    let mut sandbox = sandbox(gateway(|request| {
        // Reads a little each time, as a slow network does.
        spawned(move || {
            let mut body = request.into_body();
            let (mut sum, mut length) = (0_u64, 0_usize);
            while let Some(frame) = Interrupt::default().block_on(body.frame()).unwrap() {
                let bytes = frame?.into_data().unwrap();
                assert!(bytes.len() <= WRITE_PERMIT);
                sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                length += bytes.len();
                if length < 1 << 20 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(Response::new(full(format!("{length} {sum}"))))
        })
    }));
    let sent = request(&mut sandbox, Method::Put, &[]);
    let outgoing = HostOutgoingRequest::body(&mut sandbox, again(&sent)).unwrap().unwrap();
    let stream = HostOutgoingBody::write(&mut sandbox, again(&outgoing)).unwrap().unwrap();
    let mut written = 0;
    loop {
        let permit = sandbox.check_write(again(&stream)).unwrap() as usize;
        if permit == 0 {
            break;
        }
        HostOutputStream::write(&mut sandbox, again(&stream), vec![1; permit]).unwrap();
        written += permit;
    }
    assert_eq!(written, MAX_IN_FLIGHT);
    let more = sandbox.blocking_write_and_flush(again(&stream), vec![1; 10]);
    assert!(matches!(more, Err(StreamError::LastOperationFailed(_))), "{more:?}");
    let future = sandbox.handle(sent, None).unwrap();
    for _ in 0..100 {
        sandbox.blocking_write_and_flush(again(&stream), vec![1; 60_000]).unwrap();
        written += 60_000;
    }
    HostOutputStream::drop(&mut sandbox, stream).unwrap();
    HostOutgoingBody::finish(&mut sandbox, outgoing, None).unwrap();
    let response = answer(&mut sandbox, &future).unwrap();
    let incoming = body(&mut sandbox, response);
    assert_eq!(read(&mut sandbox, &incoming, 100).0, format!("{written} {written}").into_bytes());
}

#[test]
fn a_writer_drives_the_request() {
    // A gateway that does nothing unless polled, and reads the whole body before it answers.
    let mut sandbox = sandbox(gateway(|request| {
        Box::pin(async move {
            let length = request.into_body().collect().await?.to_bytes().len();
            Ok(Response::new(full(length.to_string())))
        })
    }));
    let upload = upload(&mut sandbox, &[]);
    for _ in 0..20 {
        sandbox.blocking_write_and_flush(again(&upload.stream), vec![7; WRITE_PERMIT]).unwrap();
    }
    let (future, finished) = finish(&mut sandbox, upload);
    finished.unwrap();
    let response = answer(&mut sandbox, &future).unwrap();
    let incoming = body(&mut sandbox, response);
    assert_eq!(read(&mut sandbox, &incoming, 100).0, (20 * WRITE_PERMIT).to_string().into_bytes());
}

#[test]
fn lengths_are_as_announced() {
    let mut sandbox = sandbox(reading(|request| Response::new(full(request.into_body()))));
    // Exact length.
    let sent = upload(&mut sandbox, &[("content-length", "4")]);
    sandbox.blocking_write_and_flush(again(&sent.stream), b"four".to_vec()).unwrap();
    let (future, finished) = finish(&mut sandbox, sent);
    finished.unwrap();
    answer(&mut sandbox, &future).unwrap();
    // Too short.
    let sent = upload(&mut sandbox, &[("content-length", "4")]);
    sandbox.blocking_write_and_flush(again(&sent.stream), b"two".to_vec()).unwrap();
    let (future, finished) = finish(&mut sandbox, sent);
    assert!(matches!(code(finished), ErrorCode::HttpRequestBodySize(Some(3))));
    assert!(matches!(answer(&mut sandbox, &future), Err(ErrorCode::HttpRequestBodySize(Some(3)))));
    // Too long.
    let sent = upload(&mut sandbox, &[("content-length", "4")]);
    let written = sandbox.blocking_write_and_flush(again(&sent.stream), b"fivef".to_vec());
    let Err(StreamError::LastOperationFailed(error)) = written else { panic!("{written:?}") };
    assert!(matches!(error.downcast_ref(), Some(ErrorCode::HttpRequestBodySize(Some(5)))));
    assert!(matches!(sandbox.check_write(again(&sent.stream)), Err(StreamError::Closed)));
    let (future, finished) = finish(&mut sandbox, sent);
    assert!(finished.is_err());
    assert!(matches!(answer(&mut sandbox, &future), Err(ErrorCode::HttpRequestBodySize(Some(5)))));
    // Declared, but no body; several lengths; not a number.
    let sent = request(&mut sandbox, Method::Post, &[("content-length", "4")]);
    assert!(matches!(code(sandbox.handle(sent, None)), ErrorCode::HttpRequestBodySize(Some(0))));
    for lengths in [&[("content-length", "1"), ("content-length", "1")][..], &[("content-length", "+1")]] {
        let sent = request(&mut sandbox, Method::Post, lengths);
        assert!(HostOutgoingRequest::body(&mut sandbox, again(&sent)).unwrap().is_err());
        assert!(matches!(code(sandbox.handle(sent, None)), ErrorCode::InternalError(_)));
    }
}

#[test]
fn an_unfinished_body_is_no_request() {
    let mut sandbox = sandbox(reading(|_| panic!("it was not finished")));
    let sent = upload(&mut sandbox, &[]);
    sandbox.blocking_write_and_flush(again(&sent.stream), b"part".to_vec()).unwrap();
    HostOutputStream::drop(&mut sandbox, sent.stream).unwrap();
    HostOutgoingBody::drop(&mut sandbox, sent.body).unwrap();
    assert!(matches!(answer(&mut sandbox, &sent.future), Err(ErrorCode::ConnectionTerminated)));
    // Abandoned before it was sent.
    let sent = request(&mut sandbox, Method::Post, &[]);
    let outgoing = HostOutgoingRequest::body(&mut sandbox, again(&sent)).unwrap().unwrap();
    HostOutgoingBody::drop(&mut sandbox, outgoing).unwrap();
    assert!(matches!(code(sandbox.handle(sent, None)), ErrorCode::ConnectionTerminated));
    // The stream is still open when the request is dropped: the writer gets an error.
    let sent = upload(&mut sandbox, &[]);
    assert!(HostOutgoingBody::drop(&mut sandbox, sent.body).is_err());
    let mut sandbox = self::sandbox(gateway(|request| {
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(request);
            Err(GatewayError::Broken)
        })
    }));
    let sent = upload(&mut sandbox, &[]);
    HostFutureIncomingResponse::drop(&mut sandbox, sent.future).unwrap();
    assert!(matches!(sandbox.check_write(again(&sent.stream)), Err(StreamError::Closed)));
}

/// The frame after a body's bytes.
type LastFrame = Option<Result<http_body::Frame<Bytes>, GatewayError>>;

#[test]
fn a_broken_body_ends_in_an_error() {
    let broken = |end: fn() -> (u64, LastFrame)| {
        sandbox(reading(move |_| {
            let mut count = 0;
            Response::new(pieces(move || {
                count += 1;
                if count < 4 { piece(vec![b'x'; 10]) } else { end() }
            }))
        }))
    };
    let trailers = |by: &'static str| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert(REFUSED_HEADER, by.parse().unwrap());
        (0, Some(Ok(http_body::Frame::trailers(trailers))))
    };
    fn cut() -> (u64, Option<Result<http_body::Frame<Bytes>, GatewayError>>) {
        (0, Some(Err(GatewayError::Broken)))
    }
    let mut sandbox = broken(cut);
    let response = fetch(&mut sandbox, Method::Get).unwrap();
    let incoming = body(&mut sandbox, response);
    let (bytes, end) = read(&mut sandbox, &incoming, 7);
    assert_eq!(bytes.len(), 30);
    assert!(matches!(end, Some(ErrorCode::ConnectionTerminated)), "{end:?}");
    // A reader that stops reading learns of it from the trailers.
    let response = fetch(&mut sandbox, Method::Get).unwrap();
    let incoming = body(&mut sandbox, response);
    let future = HostIncomingBody::finish(&mut sandbox, incoming).unwrap();
    let got = HostFutureTrailers::get(&mut sandbox, future).unwrap();
    assert!(matches!(got, Some(Ok(Err(ErrorCode::ConnectionTerminated)))));
    // The gateway refuses after the body has begun.
    for (by, expected) in
        [("too-large", ErrorCode::HttpResponseBodySize(None)), ("policy", ErrorCode::HttpRequestDenied)]
    {
        let mut sandbox = self::sandbox(reading(move |_| {
            let mut begun = false;
            Response::new(pieces(
                move || if std::mem::replace(&mut begun, true) { trailers(by) } else { piece("part") },
            ))
        }));
        let response = fetch(&mut sandbox, Method::Get).unwrap();
        let incoming = body(&mut sandbox, response);
        let (bytes, end) = read(&mut sandbox, &incoming, 100);
        assert_eq!(bytes, b"part");
        assert!(same(&end.unwrap(), &expected));
    }
}

/// Counts its polls and reports its drop.
struct Endless(Arc<AtomicUsize>, Arc<AtomicBool>);

impl Body for Endless {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, GatewayError>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'e'; 16 << 10])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_endless_body_is_read_as_far_as_the_guest_reads() {
    let (pulled, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let theirs = (Arc::clone(&pulled), Arc::clone(&dropped));
    let mut sandbox = sandbox(gateway(move |_| {
        let body = Endless(Arc::clone(&theirs.0), Arc::clone(&theirs.1)).boxed_unsync();
        Box::pin(async move { Ok(Response::new(body)) })
    }));
    let response = fetch(&mut sandbox, Method::Get).unwrap();
    let incoming = body(&mut sandbox, response);
    let stream = sandbox.stream(again(&incoming)).unwrap().unwrap();
    for _ in 0..1_000 {
        assert_eq!(sandbox.blocking_read(again(&stream), u64::MAX).unwrap().len(), 16 << 10);
    }
    assert_eq!(pulled.load(Ordering::Relaxed), 1_000);
    // Waiting for trailers also ends with the run.
    let unread = fetch(&mut sandbox, Method::Get).unwrap();
    let unread = body(&mut sandbox, unread);
    let trailers = HostIncomingBody::finish(&mut sandbox, unread).unwrap();
    assert!(HostFutureTrailers::get(&mut sandbox, again(&trailers)).unwrap().is_none());
    sandbox.set_interrupt(Interrupt::new(Some(Instant::now() + Duration::from_millis(50))));
    let pollable = HostFutureTrailers::subscribe(&mut sandbox, trailers).unwrap();
    assert_eq!(sandbox.block(pollable).unwrap_err().downcast_ref(), Some(&Interrupted::Deadline));
    // The stream is a child of the body.
    assert!(HostIncomingBody::drop(&mut sandbox, again(&incoming)).is_err());
    HostInputStream::drop(&mut sandbox, stream).unwrap();
    HostIncomingBody::drop(&mut sandbox, incoming).unwrap();
    assert!(dropped.load(Ordering::Relaxed));
}

#[test]
fn giving_a_request_up_reaches_the_gateway() {
    let dropped = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&dropped);
    let mut sandbox = sandbox(gateway(move |_| {
        let tell = Endless(Arc::default(), Arc::clone(&theirs));
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(tell);
            Err(GatewayError::Broken)
        })
    }));
    let sent = request(&mut sandbox, Method::Get, &[]);
    let future = sandbox.handle(sent, None).unwrap();
    assert!(HostFutureIncomingResponse::get(&mut sandbox, again(&future)).unwrap().is_none());
    assert!(!dropped.load(Ordering::Relaxed));
    HostFutureIncomingResponse::drop(&mut sandbox, future).unwrap();
    assert!(dropped.load(Ordering::Relaxed));
}
