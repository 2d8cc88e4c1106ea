//! Refusals that handlers declare in their OpenAPI annotation: `responses((status = 200, ...), NotFound)`.

use std::collections::BTreeMap;

use cofferdam_http::PROBLEM_JSON;
use utoipa::IntoResponses;
use utoipa::openapi::{Content, Ref, RefOr, Response};

/// A problem document with this description.
pub(crate) fn problem(description: &str) -> RefOr<Response> {
    let mut response = Response::new(description);
    let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    response.content.insert(PROBLEM_JSON.to_owned(), content);
    RefOr::T(response)
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $status:literal $text:literal)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                BTreeMap::from([(stringify!($status).to_owned(), problem($text))])
            }
        }
    )*};
}

refusals! {
    NotFound 404 "It does not exist, or belongs to another key"
    SessionBusy 409 "The session is busy, or its state does not allow this"
    NameTaken 409 "Another tool already has a function with this name"
    OperatorsKey 409 "Only the operator can change this key, or it is the last one with the scope admin"
    StillRuns 409 "Things of it run, or it is `default`"
    UsedId 409 "The id is or was another organization's"
    TaskState 409 "The state of the task or of the call does not allow this"
    KeyReused 409 "The idempotency key was used for another request, or the agent cannot work now"
    InUse 409 "Another document names it, or it is the operator's"
    OperatorsDocument 409 "It is the operator's"
    SessionLost 410 "The session's state is lost"
    InvalidValue 422 "An invalid value"
    TooMany 429 "Too many at once, or limit reached; see Retry-After"
    RegistryFailed 502 "The registry failed"
    WorkerLost 503 "The worker was lost, or none is ready; see Retry-After"
    StorageFull 507 "The worker has no room to store the state; the session lives on"
    Unavailable 503 "The server is not configured for this, or is shutting down"
}
