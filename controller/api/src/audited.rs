//! Notes each change in the audit log, by the table of routes: a handler only adds what the address does not say.
//!
//! The answer waits until the entry is written, for a bounded time. A caller that goes away in the middle leaves an entry whose
//! outcome is unknown. Refusals of what a caller sent are no changes and are not noted.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::observe::Peer;
use crate::route_table::action_of;
use cofferdam_core::Caller;
use cofferdam_identity::{Audit, Outcome, Ticket};

/// A handler's additions to the entry of its change. Never a secret's value. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Details(Arc<Mutex<Added>>);

#[derive(Debug, Default)]
struct Added {
    target: Option<String>,
    /// The action in place of the route's; `Some(None)` if the call turned out to change nothing.
    action: Option<Option<&'static str>>,
    fields: Map<String, Value>,
}

impl Details {
    /// Names what was changed, if the address does not.
    pub(crate) fn target(&self, id: &str) {
        self.0.lock().target = Some(id.to_owned());
    }

    /// Names the action, for a route whose body decides; `None` for a call that changes nothing.
    pub(crate) fn action(&self, action: Option<&'static str>) {
        self.0.lock().action = Some(action);
    }

    /// Adds the fields of an object.
    pub(crate) fn add(&self, fields: Value) {
        if let Value::Object(fields) = fields {
            self.0.lock().fields.extend(fields);
        }
    }
}

/// An entry that is written when the change has ended, or was given up.
struct Entry {
    audit: Arc<Audit>,
    caller: Arc<Caller>,
    address: Option<IpAddr>,
    action: &'static str,
    target: String,
    details: Details,
    open: bool,
}

impl Entry {
    fn note(&self, outcome: Outcome) -> Option<Ticket> {
        let added = std::mem::take(&mut *self.details.0.lock());
        let target = added.target.as_deref().unwrap_or(&self.target);
        let action = added.action.unwrap_or(Some(self.action))?;
        Some(self.audit.note(&self.caller, self.address, action, target, outcome, &Value::Object(added.fields)))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.open {
            self.note(Outcome::Unknown);
        }
    }
}

/// Middleware behind the guard of a group of routes.
pub(crate) async fn audited(State(audit): State<Arc<Audit>>, mut request: Request, next: Next) -> Response {
    let details = Details::default();
    request.extensions_mut().insert(details.clone());
    let extensions = request.extensions();
    let route = extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let action = action_of(request.method().as_str(), &route);
    let (Some(action), Some(caller)) = (action, extensions.get::<Arc<Caller>>().cloned()) else {
        return next.run(request).await;
    };
    let mut entry = Entry {
        address: extensions.get::<Peer>().map(|peer| peer.0.ip()),
        target: named(&route, request.uri().path()),
        audit,
        caller,
        action,
        details,
        open: true,
    };
    let response = next.run(request).await;
    entry.open = false;
    let status = response.status();
    if status.is_client_error() {
        return response;
    }
    let outcome = if status.is_server_error() { Outcome::Failed } else { Outcome::Done };
    if let Some(ticket) = entry.note(outcome) {
        entry.audit.written(ticket).await;
    }
    response
}

/// The parts of a path that stand for the route's parameters.
fn named(route: &str, path: &str) -> String {
    let mut parts = path.split('/');
    let mut named = Vec::new();
    for part in route.split('/') {
        let given = parts.next().unwrap_or_default();
        if part.starts_with("{*") {
            named.push(std::iter::once(given).chain(parts.by_ref()).collect::<Vec<_>>().join("/"));
        } else if part.starts_with('{') {
            named.push(given.to_owned());
        }
    }
    percent_decode_str(&named.join("/")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn the_target_is_what_the_address_names() {
        for (route, path, target) in [
            ("/v1/keys", "/v1/keys", ""),
            ("/v1/keys/{id}/rotate", "/v1/keys/key_1/rotate", "key_1"),
            ("/v1/secrets/{name}", "/v1/secrets/a%2Fb", "a/b"),
            ("/v1/sessions/{id}/files/{*path}", "/v1/sessions/s/files/a/b.txt", "s/a/b.txt"),
        ] {
            assert_eq!(named(route, path), target, "{route}");
        }
    }
}
