//! The server's loop: reads a request, notes it, answers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::ask::{Asked, Door, Provider};
use super::body::{Body, full};
use super::misbehave::{answer, close, error, instead, play};
use super::script::Script;
use super::trouble::Trouble;
use super::{MAX_SEEN, SeenRequest, Shared, other};

const MAX_BODY_BYTES: usize = 128 << 20;

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| respond(Arc::clone(&shared), request));
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A caller that goes away is what tests do.
            drop(served.await);
        });
    }
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let number = shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(io::Error::other)?.to_bytes();
    if shared.keep {
        keep(&shared, &head, &body);
    }
    let asked = match Asked::read(&head.method, &head.uri, &head.headers, &body) {
        Ok(asked) => asked,
        Err((status, provider, message)) => return Ok(error(provider, status, &message)),
    };
    let trouble = shared.next.lock().unwrap().pop_front().or_else(|| Trouble::named(&asked.model));
    if let Some(trouble) = &trouble
        && let Some(response) = instead(&shared, &asked, trouble)
    {
        return response;
    }
    match &trouble {
        Some(Trouble::Fail(times, name)) => {
            let mut failures = shared.failures.lock().unwrap();
            let count = failures.entry(name.clone()).or_default();
            *count += 1;
            if *count <= *times {
                return Ok(error(asked.provider, 500, "The server had an error while processing your request."));
            }
        }
        Some(Trouble::Slow(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    if let Some(response) = by_key(&asked) {
        return response;
    }
    let json = |value: serde_json::Value| Ok(answer(200, "application/json", full(value.to_string())));
    match asked.door {
        Door::Embeddings => json(other::embeddings(&asked)),
        Door::CountTokens => json(other::count_tokens(&asked)),
        Door::Models | Door::Model(_) => match other::models(&asked) {
            Some(value) => json(value),
            None => Ok(error(asked.provider, 404, "The model does not exist.")),
        },
        Door::Chat | Door::Responses | Door::Messages => {
            if asked.door == Door::Messages
                && asked.provider == Provider::Anthropic
                && asked.body["max_tokens"].is_null()
            {
                return Ok(error(asked.provider, 400, "max_tokens: Field required"));
            }
            let turns = if asked.door == Door::Responses { &asked.body["input"] } else { &asked.body["messages"] };
            if !(turns.is_array() || (asked.door == Door::Responses && turns.is_string())) {
                return Ok(error(asked.provider, 400, "messages: Input should be a valid list"));
            }
            if let Some(refused) = Script::refused(&asked) {
                return Ok(error(asked.provider, 400, &refused));
            }
            let script = Script::of(&asked, trouble.as_ref(), number);
            Ok(play(&shared, &asked, &script, trouble.as_ref()))
        }
    }
}

/// A key says by its text how it is answered.
fn by_key(asked: &Asked) -> Option<io::Result<Response<Body>>> {
    let key = asked.key.as_deref()?;
    Some(if key.contains("refused") {
        Ok(error(asked.provider, 401, "Incorrect API key provided."))
    } else if key.contains("limited") {
        let mut response = error(asked.provider, 429, "Rate limit reached for this key.");
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
        Ok(response)
    } else if key.contains("broke") {
        Err(close())
    } else {
        return None;
    })
}

fn keep(shared: &Shared, head: &http::request::Parts, body: &Bytes) {
    let mut seen = shared.seen.lock().unwrap();
    if seen.len() == MAX_SEEN {
        seen.pop_front();
    }
    seen.push_back(SeenRequest {
        method: head.method.clone(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers.clone(),
        body: body.clone(),
        at: Instant::now(),
    });
}
