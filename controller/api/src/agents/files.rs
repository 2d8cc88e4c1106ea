//! Agents as files: one is exported as YAML or JSON, and documents of either form are imported.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use cofferdam_agents::{Agents, NewAgent, id_of};
use cofferdam_contract::work::AgentKind;
use cofferdam_contract::{AgentId, Problem};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json, read_body};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::agent_id;
use super::definitions::{AgentBody, Parts, apply};
use super::warnings::Warnings;
use crate::audited::Details;
use crate::refusals::{InvalidValue, NotFound, TooMany};

/// The largest document of an import.
const MAX_IMPORT_BYTES: usize = 4 << 20;
/// The deepest nesting, the most values, the most aliases, what they may stand for in all, and aliases within aliases of a document.
const MAX_YAML_DEPTH: usize = 64;
const MAX_YAML_NODES: usize = 200_000;
const MAX_ALIASES: usize = 1_000;
const MAX_REPLAYED: usize = 20_000;
const MAX_ALIAS_DEPTH: usize = 8;
/// Agents of one import.
const MAX_IMPORTED: usize = 200;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Export {
    /// `yaml`, which is the default, or `json`.
    format: Option<String>,
    /// The active version by default, else the draft.
    version: Option<u64>,
}

/// Export an agent as one document, which `POST /v1/agents/import` and `cofferdam agent apply` take.
#[utoipa::path(get, path = "/v1/agents/{id}/export", tag = "agents", params(("id" = String, Path), Export),
    responses((status = 200, description = "YAML, or JSON", content_type = "application/yaml"), NotFound))]
pub(super) async fn export_agent(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(export): Query<Export>,
) -> Result<Response, ApiError> {
    let id = agent_id(&id)?;
    let agent = agents.show(&caller, &id).await?;
    if agent.version.is_none() {
        let detail = format!("The agent {id} is a container without a definition: there is nothing to export.");
        return Err(Problem::conflict(detail).into());
    }
    let definition = match export.version {
        Some(version) => agents.show_version(&caller, &id, version).await?.definition,
        None => agent.definition,
    };
    let body =
        AgentBody { id: Some(id), name: Some(agent.name), kind: Some(agent.kind), definition, ..AgentBody::default() };
    match export.format.as_deref() {
        Some("json") => Ok(Json(body).into_response()),
        None | Some("yaml") => {
            let text = write(&body)?;
            let yaml = (CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
            Ok(([yaml], text).into_response())
        }
        Some(_) => Err(Problem::invalid("format: yaml or json").into()),
    }
}

/// An agent as YAML.
fn write(body: &AgentBody) -> Result<String, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a definition cannot be written as YAML");
        Problem::internal("A definition cannot be written; see the server's log.")
    };
    let mut text = serde_saphyr::to_string(body).map_err(|error| failed(&error))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    agents: Vec<ImportedAgent>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImportedAgent {
    id: AgentId,
    version: Option<u64>,
    /// `made`, `changed` or `same`.
    outcome: &'static str,
    /// Tools, agents and models that it names and that do not exist now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Make or change the agents of a document: YAML, also of several documents, or JSON. Each is published unless its `status` is `DRAFT`.
///
/// All documents are checked before the first one is carried out.
#[utoipa::path(post, path = "/v1/agents/import", tag = "agents",
    request_body(content = String, content_type = "application/yaml"),
    responses((status = 200, body = Imported), InvalidValue, TooMany))]
pub(super) async fn import_agents(
    State(agents): State<Arc<Agents>>,
    State(warnings): State<Warnings>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    request: Request,
) -> Result<Json<Imported>, ApiError> {
    let (head, body): (_, Body) = request.into_parts();
    let bytes = read_body(&head.headers, body, MAX_IMPORT_BYTES).await?;
    // Reading some megabytes takes a while.
    let documents = tokio::task::spawn_blocking(move || read_documents(&bytes)).await;
    let documents = documents.map_err(|error| {
        tracing::error!(%error, "reading a document");
        Problem::internal("The document could not be read; see the server's log.")
    })??;
    let (mut all, mut ids) = (Vec::new(), BTreeSet::new());
    for (number, document) in documents.into_iter().enumerate() {
        let at = |problem: Problem| Problem::invalid(format!("document {}: {}", number + 1, problem.detail));
        let parts = Parts::read(document).map_err(at)?;
        let definition = parts.definition().map_err(at)?;
        let id = parts.id.clone().or_else(|| parts.name.as_deref().and_then(id_of));
        let id = id.ok_or_else(|| at(Problem::invalid("it needs an `id`, or a `name` that one can be made of")))?;
        if !ids.insert(id.clone()) {
            return Err(at(Problem::invalid(format!("a document before it has the id {id}, too"))).into());
        }
        if parts.kind == Some(AgentKind::Container) {
            return Err(at(Problem::invalid("type: a container is deployed, not defined")).into());
        }
        if parts.fields.is_empty() {
            return Err(at(Problem::invalid("it has no definition, such as `instructions` and `model`")).into());
        }
        let name = parts.name.clone().unwrap_or_else(|| id.to_string());
        let new = NewAgent { id: None, name, definition, draft: parts.draft, note: parts.note.clone() };
        new.check().map_err(at)?;
        let before = match agents.exists(&caller, &id).await? {
            true => Some(agents.show(&caller, &id).await?),
            false => None,
        };
        if before.as_ref().is_some_and(|before| before.kind == AgentKind::Container) {
            let detail = format!("document {}: the agent {id} is a container, which has no definition", number + 1);
            return Err(Problem::conflict(detail).into());
        }
        all.push((id, new.definition, parts, before.map(|before| before.revision)));
    }
    let (mut imported, mut definitions) = (Vec::new(), Vec::new());
    for (id, definition, parts, before) in all {
        let (view, _) = apply(&agents, &caller, id, parts).await?;
        let outcome = match before {
            None => "made",
            Some(revision) if revision == view.revision => "same",
            Some(_) => "changed",
        };
        definitions.push(definition);
        imported.push(ImportedAgent { id: view.id, version: view.version, outcome, warnings: Vec::new() });
    }
    // Agents of one document may name each other.
    for (agent, definition) in imported.iter_mut().zip(&definitions) {
        agent.warnings = warnings.of(&caller, definition).await;
    }
    let ids: Vec<&str> = imported.iter().map(|agent| agent.id.as_str()).collect();
    details.target(&ids.join(","));
    Ok(Json(Imported { agents: imported }))
}

/// The documents of a text: JSON is YAML, too.
fn read_documents(bytes: &[u8]) -> Result<Vec<Value>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::malformed(format!("The body is not UTF-8: the byte at offset {} is wrong.", error.valid_up_to()))
    })?;
    let bounds = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_YAML_DEPTH,
            max_nodes: MAX_YAML_NODES,
            max_aliases: MAX_ALIASES,
            max_documents: MAX_IMPORTED + 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
            max_replay_stack_depth: MAX_ALIAS_DEPTH,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, bounds).map_err(|error| {
        let said: String = error.to_string().chars().take(500).collect();
        Problem::malformed(format!("The body is neither YAML nor JSON: {said}"))
    })?;
    // A list of agents is as good as several documents.
    let documents: Vec<Value> = documents
        .into_iter()
        .flat_map(|document| match document {
            Value::Array(list) => list,
            Value::Null => Vec::new(),
            other => vec![other],
        })
        .collect();
    match documents.len() {
        0 => Err(Problem::invalid("There is no agent in the document.")),
        1..=MAX_IMPORTED => Ok(documents),
        _ => Err(Problem::invalid(format!("At most {MAX_IMPORTED} agents at once."))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_exported_is_imported_unchanged() {
        let texts = [
            "",
            "Help.",
            "null",
            "~",
            "yes",
            "1e3",
            "0x10",
            "- a",
            "a: b",
            "# no comment",
            "a #b",
            "'",
            "\"",
            "|",
            ">",
            "&a",
            "*a",
            "!!str x",
            "{a}",
            "[a]",
            "%TAG",
            "---",
            "...",
            "a\n---\nname: evil",
            "  leading",
            "trailing  \n",
            "\n\n",
            "tab\tand\r\nreturns",
            "a\u{85}b\u{2028}c",
            "\u{feff}x",
            "\u{1f980} \u{202e}",
            "{{jinja}} ${shell} `x`",
            "a\n\n  b\n c\n",
            "back\\slash \\n",
            ":",
            "?",
            "@x",
            "2026-11-30",
        ];
        for text in texts {
            let sent = json!({"id": "a", "name": "A: \"b\"", "instructions": text, "description": text.replace('\n', " "),
                "tools": ["run_code", {"name": "mcp:x", "only": ["*", "no"], "rename": {"on": "off"}}],
                "limits": {"cost_usd": "0.50", "steps": 5}, "metadata": {"k": text},
                "output_schema": {"type": "object", "properties": {"y": {"type": "integer", "minimum": -1.5e300}}}});
            let parts = Parts::read(sent).unwrap();
            let body = AgentBody {
                id: parts.id.clone(),
                name: parts.name.clone(),
                definition: parts.definition().unwrap(),
                ..AgentBody::default()
            };
            let yaml = write(&body).unwrap();
            let read = read_documents(yaml.as_bytes()).unwrap();
            assert_eq!(read.len(), 1, "{yaml}");
            let again = Parts::read(read[0].clone()).unwrap();
            assert_eq!(
                (again.name.clone(), again.definition().unwrap()),
                (body.name, body.definition),
                "{text:?} in {yaml}"
            );
        }
    }

    #[test]
    fn a_hostile_document_is_refused() {
        let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
        let twice = "name: a\nname: b\n";
        let endless = "a: &a [*a]\n";
        for text in [deep.as_str(), twice, endless, "a: \0b", "name: !!python/object:os.system x\n- b"] {
            let shown: String = text.chars().take(40).collect();
            assert!(read_documents(text.as_bytes()).is_err(), "{shown:?}");
        }
        let many = "name: a\n---\n".repeat(MAX_IMPORTED + 1);
        assert!(read_documents(many.as_bytes()).is_err());
    }

    #[test]
    fn documents_are_yaml_or_json() {
        assert_eq!(read_documents(b"name: a\n---\nname: b\n").unwrap().len(), 2);
        assert_eq!(read_documents(b"[{\"name\": \"a\"}, {\"name\": \"b\"}]").unwrap().len(), 2);
        assert!(read_documents(b"").is_err());
        assert!(read_documents(b"name: [").is_err());
        assert!(read_documents(b"\xff").is_err());
    }

    #[test]
    fn a_bomb_of_anchors_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", ")));
        }
        let begun = std::time::Instant::now();
        assert!(read_documents(bomb.as_bytes()).is_err());
        assert!(begun.elapsed() < std::time::Duration::from_secs(2));
    }
}
