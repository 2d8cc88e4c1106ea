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

/// Addresses of the providers' that this server has not, with what is below them. None of them may be one of our own API's.
pub(crate) const NOT_OFFERED: [&str; 16] = [
    "/v1/assistants",
    "/v1/audio",
    "/v1/batches",
    "/v1/complete",
    "/v1/completions",
    "/v1/containers",
    "/v1/edits",
    "/v1/engines",
    "/v1/evals",
    "/v1/files",
    "/v1/fine_tuning",
    "/v1/images",
    "/v1/moderations",
    "/v1/realtime",
    "/v1/vector_stores",
    "/v1/videos",
];
/// Addresses that a client asks whose base URL has one `/v1` too many, or lacks it.
pub(crate) const WRONG_BASE: [&str; 10] = [
    "/v1/v1",
    "/v1/v1/{*rest}",
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/messages",
    "/messages/count_tokens",
    "/models",
    "/models/{*id}",
    "/responses",
];
const OFFERED: &str = "`POST /v1/chat/completions`, `/v1/responses`, `/v1/embeddings`, `/v1/messages` and \
     `/v1/messages/count_tokens`, and `GET /v1/models`";

/// An address of a provider's that is not offered.
pub(crate) async fn not_offered(request: Request) -> Response {
    let path = request.uri().path();
    let dialect = match path {
        "/v1/complete" => Dialect::Messages,
        _ => list::dialect(request.headers()),
    };
    let instead = match path {
        "/v1/complete" => "Use `POST /v1/messages` instead. ",
        "/v1/completions" => "Use `POST /v1/chat/completions` instead. ",
        _ => "",
    };
    let message = format!("This address of the provider's is not offered here. {instead}There are {OFFERED}.");
    Refusal::no_address(dialect, message).answer(dialect)
}

/// An address below a wrong base URL.
pub(crate) async fn wrong_base(request: Request) -> Response {
    let path = request.uri().path();
    let (wrong, rest) = match path.strip_prefix("/v1/v1") {
        Some(rest) => ("has one `/v1` too many", rest),
        None => ("lacks `/v1`", path),
    };
    let dialect = match rest {
        "/messages" | "/messages/count_tokens" | "/complete" => Dialect::Messages,
        _ => list::dialect(request.headers()),
    };
    let message = format!("There is no such address: the client's base URL {wrong}. There are {OFFERED}.");
    Refusal::no_address(dialect, message).answer(dialect)
}

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
