//! Test support: in-memory gateways, misbehaving bodies, components from text.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::{
    gateway::{Gateway, GatewayBody, GatewayError, GatewayFuture, GatewayHandle},
    interrupt::Interrupt,
};

pub(crate) const TOKEN: &str = "0123456789abcdef.token";

struct Fake<F>(F);

impl<F: Fn(Request<GatewayBody>) -> GatewayFuture + Send + Sync> Gateway for Fake<F> {
    fn send(&self, request: Request<GatewayBody>) -> GatewayFuture {
        self.0(request)
    }
}

/// A gateway that calls this function.
pub(crate) fn gateway(answer: impl Fn(Request<GatewayBody>) -> GatewayFuture + Send + Sync + 'static) -> GatewayHandle {
    GatewayHandle::new(Arc::new(Fake(answer)), TOKEN).unwrap()
}

/// A gateway that reads the whole request on a thread before it answers.
pub(crate) fn reading(
    answer: impl Fn(Request<Bytes>) -> Response<GatewayBody> + Send + Sync + 'static,
) -> GatewayHandle {
    let answer = Arc::new(answer);
    gateway(move |request| {
        let answer = Arc::clone(&answer);
        spawned(move || {
            let (head, body) = request.into_parts();
            let body = Interrupt::default().block_on(body.collect()).unwrap()?.to_bytes();
            Ok(answer(Request::from_parts(head, body)))
        })
    })
}

/// The result of a thread, as a future.
pub(crate) fn spawned<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let state = Arc::new(Mutex::new((None::<T>, None::<Waker>)));
    let theirs = Arc::clone(&state);
    thread::spawn(move || {
        let done = work();
        let mut state = theirs.lock().unwrap();
        state.0 = Some(done);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    });
    Box::pin(std::future::poll_fn(move |context| {
        let mut state = state.lock().unwrap();
        match state.0.take() {
            Some(done) => Poll::Ready(done),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }))
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> GatewayBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

type Piece = Option<Result<Frame<Bytes>, GatewayError>>;

struct Pieces<F> {
    next: F,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<F: FnMut() -> (u64, Piece) + Send + Unpin> Body for Pieces<F> {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Piece> {
        if let Some(waiting) = &mut self.waiting {
            std::task::ready!(waiting.as_mut().poll(context));
            self.waiting = None;
            return Poll::Ready((self.next)().1);
        }
        let (ms, piece) = (self.next)();
        if ms == 0 {
            return Poll::Ready(piece);
        }
        self.waiting = Some(spawned(move || thread::sleep(Duration::from_millis(ms))));
        self.poll_frame(context)
    }
}

/// A body from a function that returns a wait in milliseconds (and is then called again) or a piece.
pub(crate) fn pieces(next: impl FnMut() -> (u64, Piece) + Send + Unpin + 'static) -> GatewayBody {
    Pieces { next, waiting: None }.boxed_unsync()
}

pub(crate) fn piece(bytes: impl Into<Bytes>) -> (u64, Piece) {
    (0, Some(Ok(Frame::data(bytes.into()))))
}

/// A component from a core module in text, for the world `w` of the last WIT text.
pub(crate) fn component(wit: &[&str], module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut package = None;
    for (index, text) in wit.iter().enumerate() {
        package = Some(resolve.push_str(format!("{index}.wit"), text).unwrap());
    }
    let world = resolve.select_world(&[package.unwrap()], Some("w")).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}
