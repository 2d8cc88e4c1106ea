//! Answers of an upstream that misbehaves.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use serde_json::Value;

use super::ask::{Asked, Door, Provider};
use super::body::{Body, broken, for_ever, full, paced, pieces};
use super::script::{BAD_BYTES, Script};
use super::trouble::Trouble;
use super::{Shared, bedrock, chat, messages, other, responses};

const JSON: &str = "application/json";
/// Bytes of the long event, and of the long error.
const LONG_BYTES: usize = 50 << 20;

pub(super) fn answer(status: u16, kind: &str, body: Body) -> Response<Body> {
    Response::builder().status(status).header("content-type", kind).body(body).unwrap()
}

pub(super) fn error(provider: Provider, status: u16, message: &str) -> Response<Body> {
    answer(status, JSON, full(other::error(provider, status, message).to_string()))
}

/// The connection breaks before the head: hyper closes it when a service fails.
pub(super) fn close() -> io::Error {
    io::Error::other("the fake closes the connection")
}

fn page(status: u16, text: &str) -> Response<Body> {
    let page = format!("<html><head><title>{status} Bad Gateway</title></head><body><h1>{text}</h1></body></html>");
    answer(status, "text/html; charset=utf-8", full(page))
}

fn with(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// The answer instead of a good one, if this trouble leaves nothing of that.
pub(super) fn instead(shared: &Arc<Shared>, asked: &Asked, trouble: &Trouble) -> Option<io::Result<Response<Body>>> {
    let key = asked.key.as_deref().unwrap_or_default();
    let error = |status: u16, message: &str| error(asked.provider, status, message);
    Some(Ok(match trouble {
        Trouble::TooMany(None) => error(429, "Rate limit reached for requests."),
        Trouble::TooMany(Some(seconds)) => {
            with(error(429, "Rate limit reached for requests."), "retry-after", &seconds.to_string())
        }
        Trouble::Overloaded if asked.provider == Provider::Anthropic => error(529, "Overloaded"),
        Trouble::Overloaded => error(503, "The server is overloaded."),
        Trouble::NoMoney => {
            let status = if asked.provider == Provider::Anthropic { 402 } else { 429 };
            answer(
                status,
                JSON,
                full(other::error(asked.provider, 402, "You exceeded your current quota.").to_string()),
            )
        }
        Trouble::BadRequest => error(400, "messages: the fake does not like them"),
        Trouble::KeyRefused => error(401, &format!("Incorrect API key provided: {}.", masked(key))),
        Trouble::Page => page(500, "upstream connect error or disconnect/reset before headers"),
        Trouble::KeyInPage => page(502, &format!("cannot forward Authorization: Bearer {key}")),
        Trouble::KeyInError => error(400, &format!("The key {key} may not do this; x-api-key={key}")),
        Trouble::Closed => return Some(Err(close())),
        Trouble::Redirect => with(answer(307, "text/plain", full("")), "location", "http://127.0.0.1:1/v1/secret"),
        Trouble::WrongType => page(200, "Please log in"),
        Trouble::Garbage => answer(200, type_of(asked), full("{\"id\": \"x\", \"choices\": [}]")),
        Trouble::Empty => answer(200, type_of(asked), full("")),
        Trouble::Endless if !asked.stream => {
            let spaces = Bytes::from(vec![b' '; 4_096]);
            answer(200, JSON, pieces(shared, for_ever(spaces)))
        }
        Trouble::EndlessError => answer(500, JSON, pieces(shared, for_ever(Bytes::from(vec![b' '; 4_096])))),
        Trouble::LongError => {
            // In pieces, so that the head does not wait for all of it.
            let text = other::error(asked.provider, 400, "@").to_string();
            let (start, end) = text.split_once('@').unwrap_or((&text, ""));
            let middle = std::iter::repeat_n(Bytes::from(vec![b'x'; 1 << 20]), LONG_BYTES >> 20);
            let start = std::iter::once(Bytes::copy_from_slice(start.as_bytes()));
            let all = start.chain(middle).chain([Bytes::copy_from_slice(end.as_bytes())]);
            answer(400, JSON, pieces(shared, stream::iter(all.map(Ok).collect::<Vec<_>>())))
        }
        _ => return None,
    }))
}

fn masked(key: &str) -> String {
    format!("{}****", key.get(..4).unwrap_or_default())
}

fn type_of(asked: &Asked) -> &'static str {
    match (asked.stream, asked.provider) {
        (false, _) => JSON,
        (true, Provider::Bedrock) => "application/vnd.amazon.eventstream",
        (true, _) => "text/event-stream; charset=utf-8",
    }
}

/// The script's answer, with what is left of the trouble.
pub(super) fn play(shared: &Arc<Shared>, asked: &Asked, script: &Script, trouble: Option<&Trouble>) -> Response<Body> {
    if !asked.stream {
        return whole(shared, asked, script, trouble);
    }
    let events = match asked.door {
        Door::Chat => chat::events(script, asked),
        Door::Responses => responses::events(script, asked),
        _ => messages::events(script),
    };
    let mut events: Vec<Bytes> = events.into_iter().map(spoiled).collect();
    let middle = events.len() / 2;
    let word = events.get(middle).cloned().unwrap_or_default();
    if asked.provider == Provider::Bedrock {
        events = bedrock::frames(&events);
    }
    let rest = events.split_off(middle.min(events.len()));
    let pause = script.pause;
    let first = paced(events, pause);
    let body = match trouble {
        Some(Trouble::Half) => {
            let torn = word.slice(..word.len() / 2);
            pieces(shared, first.chain(stream::iter([Ok(torn)])).chain(broken()))
        }
        Some(Trouble::Cut) => pieces(shared, first),
        Some(Trouble::Stall) => pieces(shared, first.chain(stream::pending())),
        Some(Trouble::Endless) => {
            let word = if asked.provider == Provider::Bedrock { bedrock::frames(&[word]).remove(0) } else { word };
            pieces(shared, first.chain(for_ever(word)))
        }
        Some(Trouble::LongLine) => {
            let piece = Bytes::from(vec![b'x'; 1 << 20]);
            let line = std::iter::once(Bytes::from_static(b"data: {\"long\":\""))
                .chain(std::iter::repeat_n(piece, LONG_BYTES >> 20))
                .chain([Bytes::from_static(b"\"}\n\n")]);
            pieces(shared, first.chain(stream::iter(line.map(Ok))).chain(paced(rest, pause)))
        }
        Some(Trouble::ErrorEvent) => {
            pieces(shared, first.chain(stream::iter([Ok(error_event(asked))])).chain(stream::iter([])))
        }
        _ if pause.is_zero() => pieces(shared, first.chain(stream::iter(rest.into_iter().map(Ok)))),
        _ => {
            let rest = stream::once(async move {
                tokio::time::sleep(pause).await;
                Ok(Bytes::new())
            })
            .chain(paced(rest, pause));
            pieces(shared, first.chain(rest))
        }
    };
    let mut response = answer(200, type_of(asked), body);
    let id = if asked.door == Door::Messages { "request-id" } else { "x-request-id" };
    response.headers_mut().insert(id, format!("req_{}", script.id).parse().unwrap());
    response
}

fn error_event(asked: &Asked) -> Bytes {
    let key = asked.key.as_deref().unwrap_or_default();
    let message = format!("Overloaded while it served {key}");
    let text = match (asked.provider, &asked.door) {
        (Provider::Bedrock, _) => return bedrock::exception(),
        (_, Door::Messages) => {
            let data = serde_json::json!({"type": "error", "error": {"type": "overloaded_error", "message": message}});
            format!("event: error\ndata: {data}\n\n")
        }
        (_, Door::Responses) => {
            let data = serde_json::json!({"type": "error", "code": "server_error", "message": message, "param": null,
                "sequence_number": 99});
            format!("event: error\ndata: {data}\n\n")
        }
        _ => format!("data: {}\n\n", other::error(asked.provider, 503, &message)),
    };
    text.into()
}

fn whole(shared: &Arc<Shared>, asked: &Asked, script: &Script, trouble: Option<&Trouble>) -> Response<Body> {
    let value: Value = match asked.door {
        Door::Chat => chat::whole(script),
        Door::Responses => responses::whole(script, asked),
        _ => messages::whole(script),
    };
    let text = match trouble {
        Some(Trouble::ErrorEvent) => Bytes::from(other::error(asked.provider, 503, "Overloaded").to_string()),
        _ => spoiled(value.to_string().into()),
    };
    let half = text.slice(..text.len() / 2);
    let body = match trouble {
        Some(Trouble::Half) => pieces(shared, stream::iter([Ok(half)]).chain(broken())),
        Some(Trouble::Cut) => full(half),
        Some(Trouble::Stall) => pieces(shared, stream::iter([Ok(half)]).chain(stream::pending())),
        _ if script.pause > Duration::ZERO => {
            let cut = text.chunks(16).map(Bytes::copy_from_slice).collect();
            pieces(shared, paced(cut, script.pause))
        }
        _ => full(text),
    };
    let mut response = answer(200, JSON, body);
    let id = if asked.door == Door::Messages { "request-id" } else { "x-request-id" };
    response.headers_mut().insert(id, format!("req_{}", script.id).parse().unwrap());
    response
}

/// The bytes that are no characters in their place.
fn spoiled(text: Bytes) -> Bytes {
    let Some(at) = text.windows(BAD_BYTES.len()).position(|window| window == BAD_BYTES.as_bytes()) else { return text };
    [&text[..at], &[0xff, 0xfe, 0xc3], &text[at + BAD_BYTES.len()..]].concat().into()
}
