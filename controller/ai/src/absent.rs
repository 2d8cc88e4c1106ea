//! Addresses and methods that the providers have and this server has not, refused in their protocols.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cofferdam_dialects::Dialect;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};

use crate::door::Door;
use crate::list;
use crate::refusal::Refusal;

const POST: &str = "OPTIONS, POST";
const GET: &str = "GET, HEAD, OPTIONS";

/// Another method than `POST` at a door.
pub(crate) fn method(door: Door, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return options(POST);
    }
    let path = door.path();
    let message = format!("This address takes POST only: nothing is stored here. Send the call as `POST {path}`.");
    Refusal::method(message, POST).answer(door.dialect())
}

/// An address below a door.
pub(crate) fn below(door: Door) -> Response {
    let path = door.path();
    let message = match door {
        Door::Chat | Door::Responses => {
            format!(
                "There is no such address: answers are not stored here, so none can be read later. Use `POST {path}`."
            )
        }
        Door::Messages => "There is no such address: batches are not offered. Use `POST /v1/messages` and `POST \
             /v1/messages/count_tokens`."
            .to_owned(),
        Door::Embeddings | Door::CountTokens => format!("There is no such address. Use `POST {path}`."),
    };
    Refusal::no_address(door.dialect(), message).answer(door.dialect())
}

/// Another method than `GET` at the list of models.
pub(crate) async fn list_method(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return options(GET);
    }
    let message = "Models are only listed here; they are set up with `/v1/upstreams` and `/v1/model-aliases`.";
    Refusal::method(message, GET).answer(list::dialect(request.headers()))
}

/// A model without a name.
pub(crate) async fn nameless(request: Request) -> Response {
    let dialect: Dialect = list::dialect(request.headers());
    Refusal::no_address(dialect, "There is no such address; `GET /v1/models` lists the models.").answer(dialect)
}

/// Browsers of other origins get no permission: there are no CORS headers.
fn options(allow: &'static str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}
