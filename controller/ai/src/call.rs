//! A call: the caller, the body within its bounds, the engine, the answer. Dropping the future or the answer's body cancels
//! the call: nothing here runs on by itself.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use cofferdam_http::{read_body, refuse_nul_in, unless_ended};
use cofferdam_models::Call;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};

use crate::Inside;
use crate::caller::{Caller, caller};
use crate::door::Door;
use crate::refusal::Refusal;

/// The longest body of a call, in bytes.
const MAX_BODY_BYTES: usize = 32 << 20;
/// Headers that only this server reads.
const OURS: [HeaderName; 5] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-xpander-api-key"),
];

pub(crate) const ENDED: &str = "The API key or run token ended while the call was under way.";
const NO_ROOM: &str = "The server has no room for another body of this size at the moment; try again.";

/// Answers a request at a door.
pub(crate) async fn call(inside: &Inside, door: Door, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let caller = match admit(inside, &parts).await {
        Ok(caller) => caller,
        Err(refusal) => return refusal.answer(door.dialect()),
    };
    let right = caller.right.clone();
    let answer = async {
        match carry_out(inside, door, caller, parts.headers, body).await {
            Ok(response) => response,
            Err(refusal) => refusal.answer(door.dialect()),
        }
    };
    let answered = unless_ended(answer, right.clone().ended(), right).await;
    answered.unwrap_or_else(|| Refusal::unauthorized(ENDED).answer(door.dialect()))
}

/// The caller of a request whose address is a good one.
pub(crate) async fn admit(inside: &Inside, parts: &http::request::Parts) -> Result<Caller, Refusal> {
    let caller = caller(&inside.doors, parts).await?;
    refuse_nul_in(&parts.uri)?;
    Ok(caller)
}

async fn carry_out(
    inside: &Inside,
    door: Door,
    caller: Caller,
    mut headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Caller { who, narrow, right: _ } = caller;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // Longer ones are refused before they take any.
    let needed = announced.map_or(MAX_BODY_BYTES, |length| match usize::try_from(length) {
        Ok(length) if length <= MAX_BODY_BYTES => length,
        _ => 0,
    });
    let room = inside.memory.take(&who.organization, needed).await;
    // Held until the answer begins: retries send the body again.
    let mut room = room.map_err(|_| Refusal::busy(NO_ROOM))?;
    let body: Bytes = read_body(&headers, body, MAX_BODY_BYTES).await?;
    room.shrink(body.len());
    for name in &OURS {
        headers.remove(name);
    }
    let call = Call { who, service: door.service(), headers, body, narrow };
    Ok(inside.doors.models.call(call).await.map(Body::new))
}
