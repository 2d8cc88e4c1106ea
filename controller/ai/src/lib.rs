//! The doors of the AI gateway: models' calls over HTTP in the providers' own protocols, OpenAI's chat completions, responses
//! and embeddings, Anthropic's messages and their token count, and both lists of models.
//!
//! Authenticates, reads a body within its bounds, and passes the engine's answer on. Every refusal is written in the protocol
//! of its door. Never chooses an upstream, never counts a token, never stores anything. Start reading at `door.rs`.

mod absent;
mod call;
mod caller;
mod door;
mod list;
mod memory;
mod refusal;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};
use cofferdam_identity::{Keyring, Rates, RunTokens};
use cofferdam_models::Models;

use door::Door;
use memory::Memory;

/// The services behind the doors.
#[derive(Clone)]
pub struct Doors {
    pub models: Arc<Models>,
    pub keyring: Arc<Keyring>,
    pub rates: Arc<Rates>,
    pub run_tokens: Arc<RunTokens>,
}

/// Shared by all routes.
struct Inside {
    doors: Doors,
    memory: Memory,
}

/// The addresses of the providers' protocols, over these services.
pub fn router(doors: Doors) -> Router {
    let inside = Arc::new(Inside { doors, memory: Memory::default() });
    let mut router = Router::new();
    for door in Door::ALL {
        let inside = Arc::clone(&inside);
        let answered = post(move |request| {
            let inside = Arc::clone(&inside);
            async move { call::call(&inside, door, request).await }
        });
        router = router.route(door.path(), answered.fallback(async move |request| absent::method(door, request)));
        for below in door.below() {
            router = router.route(below, any(async move || absent::below(door)));
        }
    }
    for path in absent::NOT_OFFERED {
        router =
            router.route(path, any(absent::not_offered)).route(&format!("{path}/{{*rest}}"), any(absent::not_offered));
    }
    for path in absent::WRONG_BASE {
        router = router.route(path, any(absent::wrong_base));
    }
    let all = Arc::clone(&inside);
    let listed = get(move |request| {
        let all = Arc::clone(&all);
        async move { list::list(&all, request).await }
    });
    let shown = get(move |request| {
        let inside = Arc::clone(&inside);
        async move { list::show(&inside, request).await }
    });
    router
        .route("/v1/models", listed.fallback(absent::list_method))
        .route("/v1/models/{*id}", shown.fallback(absent::list_method))
        .route("/v1/models/", any(absent::nameless))
}
