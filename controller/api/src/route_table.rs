//! Every route, as data: the scope that it needs, what a key of another organization gets, and the action that the audit log names.
//!
//! Tests fail for a route that is not here, for one whose group needs another scope, and for one that answers strangers or too
//! small a scope otherwise than here.

use cofferdam_core::Scope;

/// The answer to a key of another organization that asks for something of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// 404: the path names a thing, and it is not there for others.
    Missing,
    /// The call is about the caller's own organization, whatever it sends.
    Own,
    /// 403, unless the key manages organizations.
    Operator,
    /// The route needs no key.
    Open,
}

use Stranger::{Missing, Open, Operator, Own};

/// A route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// In small letters, as in the description.
    pub method: &'static str,
    /// As in the description.
    pub path: &'static str,
    /// A key needs one of these scopes; none for a route without a key.
    pub needs: &'static [Scope],
    pub stranger: Stranger,
    /// The action in the audit log; empty for what changes nothing that it keeps.
    pub action: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    needs: &'static [Scope],
    stranger: Stranger,
    action: &'static str,
) -> Route {
    Route { method, path, needs, stranger, action }
}

/// No key.
pub(crate) const NONE: &[Scope] = &[];
pub(crate) const READ: &[Scope] = &[Scope::Read];
/// Reads of agents' work.
pub(crate) const WORK: &[Scope] = &[Scope::Read, Scope::Invoke];
pub(crate) const INVOKE: &[Scope] = &[Scope::Invoke];
/// Tools need `run`, agents `invoke`.
pub(crate) const MCP: &[Scope] = &[Scope::Run, Scope::Invoke];
pub(crate) const RUN: &[Scope] = &[Scope::Run];
pub(crate) const DEPLOY: &[Scope] = &[Scope::Deploy];
pub(crate) const ADMIN: &[Scope] = &[Scope::Admin];

/// The routes of the description.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route("get", "/health", NONE, Open, ""),
    route("get", "/ready", NONE, Open, ""),
    route("get", "/metrics", NONE, Open, ""),
    route("get", "/openapi.json", NONE, Open, ""),
    // The handlers of these open routes note their changes themselves.
    route("get", "/oauth/login", NONE, Open, ""),
    route("post", "/oauth/login", NONE, Open, ""),
    route("get", "/oauth/callback", NONE, Open, "connector.login"),
    route("get", "/oauth/client.json", NONE, Open, ""),
    route("put", "/uploads/{token}", NONE, Open, "agent.upload"),
    route("patch", "/uploads/{token}", NONE, Open, "agent.upload"),
    route("head", "/uploads/{token}", NONE, Open, ""),
    route("post", "/v1/runs", RUN, Own, ""),
    route("get", "/v1/runs/{id}/files/{path}", READ, Missing, ""),
    route("post", "/v1/sessions", RUN, Own, ""),
    route("get", "/v1/sessions", READ, Own, ""),
    route("get", "/v1/sessions/{id}", READ, Missing, ""),
    route("delete", "/v1/sessions/{id}", RUN, Missing, ""),
    route("post", "/v1/sessions/{id}/suspend", RUN, Missing, ""),
    route("post", "/v1/sessions/{id}/resume", RUN, Missing, ""),
    route("post", "/v1/sessions/{id}/fork", RUN, Missing, ""),
    route("post", "/v1/sessions/{id}/snapshots", RUN, Missing, ""),
    route("get", "/v1/sessions/{id}/files", READ, Missing, ""),
    route("get", "/v1/sessions/{id}/files/{path}", READ, Missing, ""),
    route("put", "/v1/sessions/{id}/files/{path}", RUN, Missing, ""),
    route("get", "/v1/snapshots", READ, Own, ""),
    route("delete", "/v1/snapshots/{name}", RUN, Missing, ""),
    route("get", "/v1/tools", READ, Own, ""),
    route("get", "/v1/tools/{name}", READ, Missing, ""),
    route("put", "/v1/tools/{name}", DEPLOY, Own, "tool.deploy"),
    route("delete", "/v1/tools/{name}", DEPLOY, Missing, "tool.delete"),
    route("post", "/v1/tools/{name}/rollback", DEPLOY, Missing, "tool.rollback"),
    route("post", "/v1/tools/{name}/push", DEPLOY, Missing, "tool.push"),
    route("post", "/v1/tools/{name}/functions/{function}", RUN, Missing, ""),
    route("post", "/v1/keys", ADMIN, Own, "key.create"),
    route("get", "/v1/keys", ADMIN, Own, ""),
    route("get", "/v1/keys/{id}", ADMIN, Missing, ""),
    route("patch", "/v1/keys/{id}", ADMIN, Missing, "key.update"),
    route("post", "/v1/keys/{id}/rotate", ADMIN, Missing, "key.rotate"),
    route("delete", "/v1/keys/{id}", ADMIN, Missing, "key.revoke"),
    route("post", "/v1/organizations", ADMIN, Operator, "organization.create"),
    route("get", "/v1/organizations", ADMIN, Own, ""),
    route("get", "/v1/organizations/{id}", ADMIN, Missing, ""),
    route("patch", "/v1/organizations/{id}", ADMIN, Missing, "organization.update"),
    route("delete", "/v1/organizations/{id}", ADMIN, Missing, "organization.delete"),
    route("post", "/v1/organizations/{id}/keys", ADMIN, Operator, "organization.key"),
    route("get", "/v1/audit", ADMIN, Own, ""),
    route("put", "/v1/secrets/{name}", ADMIN, Own, "secret.put"),
    route("get", "/v1/secrets", ADMIN, Own, ""),
    route("get", "/v1/secrets/{name}", ADMIN, Missing, ""),
    route("delete", "/v1/secrets/{name}", ADMIN, Missing, "secret.delete"),
    route("post", "/v1/run-tokens", DEPLOY, Own, "run_token.create"),
    route("get", "/v1/run-tokens", DEPLOY, Own, ""),
    route("delete", "/v1/run-tokens", DEPLOY, Own, "run_token.end"),
    route("delete", "/v1/run-tokens/{id}", DEPLOY, Missing, "run_token.end"),
    route("get", "/v1/upstreams", READ, Own, ""),
    route("get", "/v1/upstreams/{name}", READ, Missing, ""),
    route("put", "/v1/upstreams/{name}", ADMIN, Own, "upstream.put"),
    route("delete", "/v1/upstreams/{name}", ADMIN, Missing, "upstream.delete"),
    route("get", "/v1/model-aliases", READ, Own, ""),
    route("get", "/v1/model-aliases/{name}", READ, Missing, ""),
    route("put", "/v1/model-aliases/{name}", ADMIN, Own, "model_alias.put"),
    route("delete", "/v1/model-aliases/{name}", ADMIN, Missing, "model_alias.delete"),
    route("get", "/v1/model-rules", READ, Own, ""),
    route("get", "/v1/model-rules/{name}", READ, Missing, ""),
    route("put", "/v1/model-rules/{name}", ADMIN, Own, "model_rule.put"),
    route("delete", "/v1/model-rules/{name}", ADMIN, Missing, "model_rule.delete"),
    route("get", "/v1/model-prices", READ, Own, ""),
    route("get", "/v1/model-prices/{name}", READ, Missing, ""),
    route("put", "/v1/model-prices/{name}", ADMIN, Own, "model_price.put"),
    route("delete", "/v1/model-prices/{name}", ADMIN, Missing, "model_price.delete"),
    route("get", "/v1/budgets", READ, Own, ""),
    route("get", "/v1/budgets/{name}", READ, Missing, ""),
    route("put", "/v1/budgets/{name}", ADMIN, Own, "budget.put"),
    route("delete", "/v1/budgets/{name}", ADMIN, Missing, "budget.delete"),
    route("post", "/v1/upstreams/{name}/test", ADMIN, Missing, ""),
    route("post", "/v1/upstreams/test", ADMIN, Own, ""),
    route("get", "/v1/model-privacy", READ, Own, ""),
    route("put", "/v1/model-privacy", ADMIN, Own, "model_privacy.put"),
    route("get", "/v1/model-costs", READ, Own, ""),
    route("get", "/v1/usage", READ, Own, ""),
    route("get", "/v1/usage/calls", READ, Own, ""),
    route("get", "/v1/usage/calls/{id}", READ, Missing, ""),
    route("get", "/v1/agents", READ, Own, ""),
    route("post", "/v1/agents", DEPLOY, Own, "agent.deploy"),
    route("get", "/v1/agents/{id}", READ, Missing, ""),
    route("delete", "/v1/agents/{id}", DEPLOY, Missing, "agent.delete"),
    route("put", "/v1/agents/{id}", DEPLOY, Own, "agent.publish"),
    route("patch", "/v1/agents/{id}", DEPLOY, Missing, "agent.draft"),
    route("post", "/v1/agents/{id}/activate", DEPLOY, Missing, "agent.activate"),
    route("post", "/v1/agents/{id}/deactivate", DEPLOY, Missing, "agent.deactivate"),
    route("post", "/v1/agents/import", DEPLOY, Own, "agent.import"),
    route("get", "/v1/agents/{id}/versions", READ, Missing, ""),
    route("get", "/v1/agents/{id}/versions/{version}", READ, Missing, ""),
    route("get", "/v1/agents/{id}/diff", READ, Missing, ""),
    route("get", "/v1/agents/{id}/export", READ, Missing, ""),
    route("get", "/v1/agents/{id}/memories", READ, Missing, ""),
    route("delete", "/v1/agents/{id}/memories/{memory}", DEPLOY, Missing, "agent.forget"),
    route("get", "/v1/agents/{id}/deployments", READ, Missing, ""),
    route("get", "/v1/agents/{id}/deployments/{number}", READ, Missing, ""),
    route("get", "/v1/agents/{id}/deployments/{number}/events", READ, Missing, ""),
    route("get", "/agents/{id}/logs", READ, Missing, ""),
    route("get", "/{org}/agent-containers/{id}/logs", READ, Missing, ""),
    route("post", "/api/deploy-agent", READ, Missing, "agent.deploy"),
    route("get", "/agent-containers/{id}/generate_upload_link", DEPLOY, Missing, "agent.upload_link"),
    route("post", "/agent-containers/{id}/deploy", DEPLOY, Missing, "agent.deploy"),
    route("post", "/agent-containers/{id}/start", DEPLOY, Missing, "agent.start"),
    route("delete", "/agent-containers/{id}/stop", DEPLOY, Missing, "agent.stop"),
    route("get", "/v1/connectors", READ, Own, ""),
    route("get", "/v1/connectors/{name}", READ, Missing, ""),
    route("put", "/v1/connectors/{name}", DEPLOY, Own, "connector.put"),
    route("delete", "/v1/connectors/{name}", DEPLOY, Missing, "connector.delete"),
    route("post", "/v1/connectors/{name}/test", DEPLOY, Missing, ""),
    route("get", "/v1/connectors/{name}/login", INVOKE, Missing, ""),
    route("delete", "/v1/connectors/{name}/login", DEPLOY, Missing, "connector.logout"),
    route("post", "/v1/agents/{id}/invoke", INVOKE, Missing, ""),
    route("post", "/v1/agents/{id}/invoke/async", INVOKE, Missing, ""),
    route("post", "/v1/agents/{id}/invoke/stream", INVOKE, Missing, ""),
    route("post", "/v1/agents/{id}/tasks/replay", INVOKE, Own, "task.replay"),
    route("get", "/v1/agents/{id}/tasks", WORK, Own, ""),
    route("get", "/v1/tasks", WORK, Own, ""),
    route("get", "/v1/tasks/{id}", WORK, Missing, ""),
    route("delete", "/v1/tasks/{id}", INVOKE, Missing, "task.stop"),
    route("post", "/v1/tasks/{id}/stop", INVOKE, Missing, "task.stop"),
    route("post", "/v1/tasks/{id}/pause", INVOKE, Missing, "task.pause"),
    route("post", "/v1/tasks/{id}/resume", INVOKE, Missing, "task.resume"),
    route("post", "/v1/tasks/{id}/replay", INVOKE, Missing, "task.replay"),
    route("get", "/v1/tasks/{id}/events", WORK, Missing, ""),
    route("get", "/v1/tasks/{id}/thread", WORK, Missing, ""),
    route("get", "/v1/tasks/{id}/approvals", WORK, Missing, ""),
    route("post", "/v1/tasks/{id}/approvals/{call}", INVOKE, Missing, "approval.decide"),
    route("get", "/v1/approvals", WORK, Own, ""),
    route("get", "/v1/threads", WORK, Own, ""),
    route("get", "/v1/threads/{id}", WORK, Missing, ""),
    route("delete", "/v1/threads/{id}", INVOKE, Missing, "thread.delete"),
    route("get", "/v1/threads/{id}/messages", WORK, Missing, ""),
    route("get", "/v1/threads/{id}/events", WORK, Missing, ""),
    route("post", "/v1/threads/{id}/fork", INVOKE, Missing, "thread.fork"),
    route("get", "/v1/search", WORK, Own, ""),
    route("get", "/v1/environments", ADMIN, Own, ""),
    route("put", "/v1/environments/{name}", ADMIN, Own, "environment.put"),
    route("get", "/v1/environments/{name}", ADMIN, Missing, ""),
    route("delete", "/v1/environments/{name}", ADMIN, Missing, "environment.delete"),
    route("post", "/v1/environments/{name}/test", ADMIN, Missing, ""),
    route("get", "/v1/variables", ADMIN, Own, ""),
    route("patch", "/v1/variables", ADMIN, Own, "variables.update"),
    route("patch", "/{org}/registry/secrets_sync", ADMIN, Own, "variables.update"),
];

/// The action of a route as the router writes it; `None` for one that changes nothing that the audit log keeps.
pub(crate) fn action_of(method: &str, route: &str) -> Option<&'static str> {
    let found = ROUTES.iter().find(|known| known.method.eq_ignore_ascii_case(method) && same(known.path, route))?;
    Some(found.action).filter(|action| !action.is_empty())
}

/// Compares a path of the description with one of the router, which writes `{*name}` for several parts.
fn same(described: &str, route: &str) -> bool {
    let mut parts = described.split('/');
    let equal = |part: &str| parts.next().is_some_and(|own| own == part || own == part.replace("{*", "{"));
    route.split('/').all(equal) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_found_by_the_routers_words() {
        assert_eq!(action_of("POST", "/v1/keys/{id}/rotate"), Some("key.rotate"));
        assert_eq!(action_of("GET", "/v1/keys"), None);
        assert_eq!(action_of("POST", "/v1/keys/{id}"), None);
        assert!(same("/v1/runs/{id}/files/{path}", "/v1/runs/{id}/files/{*path}"));
        assert!(!same("/v1/runs/{id}", "/v1/runs/{id}/files"));
    }

    #[test]
    fn no_route_is_there_twice() {
        for (number, route) in ROUTES.iter().enumerate() {
            let again = ROUTES[..number].iter().any(|other| (other.method, other.path) == (route.method, route.path));
            assert!(!again, "{} {}", route.method, route.path);
        }
    }
}
