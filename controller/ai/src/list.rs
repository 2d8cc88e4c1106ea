//! The models that a caller may name, as OpenAI's and Anthropic's clients list them.

use axum::extract::{Query, Request};
use axum::response::{IntoResponse, Response};
use cofferdam_dialects::{Dialect, Kind};
use cofferdam_http::{ApiError, unless_ended};
use cofferdam_models::ListedModel;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Inside;
use crate::call::{ENDED, admit};
use crate::refusal::Refusal;

/// The first part of the address of one model.
const MODEL_PATH: &str = "/v1/models/";
/// The most models of one page of Anthropic's list.
const MAX_PAGE: usize = 1_000;
/// Characters of a model's name that a client is shown.
const MAX_SHOWN: usize = 200;
/// Anthropic's word for a model whose date is not known.
const NO_DATE: &str = "1970-01-01T00:00:00Z";
/// The beginnings of the names by which clients of Anthropic's protocol call themselves.
const ANTHROPIC_AGENTS: [&str; 2] = ["anthropic", "claude"];

/// The protocol that a client speaks that sends these headers.
pub(crate) fn dialect(headers: &HeaderMap) -> Dialect {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let agent = agent.to_ascii_lowercase();
    let theirs = headers.contains_key("x-api-key") && ANTHROPIC_AGENTS.iter().any(|name| agent.starts_with(name));
    if theirs || headers.contains_key("anthropic-version") { Dialect::Messages } else { Dialect::Chat }
}

/// `GET /v1/models`.
pub(crate) async fn list(inside: &Inside, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let dialect = dialect(&parts.headers);
    answer(inside, &parts, dialect, |models| match dialect {
        Dialect::Messages => page(models, &Page::of(&parts.uri)?),
        _ => Ok(json!({"object": "list", "data": models.iter().map(openai).collect::<Vec<_>>()})),
    })
    .await
}

/// `GET /v1/models/{id}`.
pub(crate) async fn show(inside: &Inside, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let dialect = dialect(&parts.headers);
    let id = decoded(parts.uri.path().strip_prefix(MODEL_PATH).unwrap_or_default());
    answer(inside, &parts, dialect, |models| {
        let found = id.as_ref().and_then(|id| models.iter().find(|model| model.id == *id));
        let shown: String = id.as_deref().unwrap_or_default().chars().take(MAX_SHOWN).collect();
        let message = format!("There is no model {shown:?} that this key may use; `GET /v1/models` lists them.");
        let model = found.ok_or_else(|| Refusal::new(Kind::NotFound, message))?;
        Ok(if dialect == Dialect::Messages { anthropic(model) } else { openai(model) })
    })
    .await
}

async fn answer(
    inside: &Inside,
    parts: &Parts,
    dialect: Dialect,
    shape: impl FnOnce(&[ListedModel]) -> Result<Value, Refusal>,
) -> Response {
    let caller = match admit(inside, parts).await {
        Ok(caller) => caller,
        Err(refusal) => return refusal.answer(dialect),
    };
    let right = caller.right.clone();
    let answer = async {
        let listed = inside.doors.models.list(&caller.who, &caller.narrow).await;
        match listed.map_err(|error| Refusal::from(ApiError::from(error))).and_then(|models| shape(&models)) {
            Ok(value) => axum::Json(value).into_response(),
            Err(refusal) => refusal.answer(dialect),
        }
    };
    let answered = unless_ended(answer, right.clone().ended(), right).await;
    answered.unwrap_or_else(|| Refusal::unauthorized(ENDED).answer(dialect))
}

fn openai(model: &ListedModel) -> Value {
    json!({"id": model.id, "object": "model", "created": 0, "owned_by": model.owned_by})
}

fn anthropic(model: &ListedModel) -> Value {
    json!({"type": "model", "id": model.id, "display_name": model.id, "created_at": NO_DATE})
}

/// A page of Anthropic's list.
#[derive(Debug, Default, Deserialize)]
struct Page {
    limit: Option<usize>,
    after_id: Option<String>,
    before_id: Option<String>,
}

impl Page {
    /// Other parameters are left alone, such as `beta`.
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let page = Query::<Self>::try_from_uri(uri)
            .map(|Query(page)| page)
            .unwrap_or(Self { limit: Some(0), ..Self::default() });
        if page.limit.is_some_and(|limit| !(1..=MAX_PAGE).contains(&limit)) {
            return Err(Refusal::new(Kind::Invalid, format!("limit: 1 to {MAX_PAGE}")));
        }
        Ok(page)
    }
}

fn page(models: &[ListedModel], page: &Page) -> Result<Value, Refusal> {
    let at = |id: &String| {
        let place = models.iter().position(|model| model.id == *id);
        let shown: String = id.chars().take(MAX_SHOWN).collect();
        place.ok_or_else(|| Refusal::new(Kind::Invalid, format!("there is no model {shown:?} in the list")))
    };
    let limit = page.limit.unwrap_or(MAX_PAGE);
    let (mut from, mut to) = (0, models.len());
    let mut has_more = false;
    if let Some(after) = &page.after_id {
        from = at(after)?.saturating_add(1);
    }
    if let Some(before) = &page.before_id {
        to = at(before)?;
        if to.saturating_sub(from) > limit {
            (from, has_more) = (to - limit, true);
        }
    } else if to.saturating_sub(from) > limit {
        (to, has_more) = (from + limit, true);
    }
    let shown = models.get(from..to).unwrap_or_default();
    let id = |model: Option<&ListedModel>| model.map(|model| model.id.clone());
    Ok(json!({
        "data": shown.iter().map(anthropic).collect::<Vec<_>>(),
        "has_more": has_more,
        "first_id": id(shown.first()),
        "last_id": id(shown.last()),
    }))
}

/// A path's text, if it is one.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn models(count: usize) -> Vec<ListedModel> {
        (0..count).map(|n| ListedModel { id: format!("m{n}"), owned_by: "up".to_owned() }).collect()
    }

    #[test]
    fn pages_follow_each_other_in_both_directions() {
        let models = models(5);
        for (query, ids, has_more) in [
            ("", &["m0", "m1", "m2", "m3", "m4"][..], false),
            ("?limit=2", &["m0", "m1"], true),
            ("?limit=2&after_id=m1", &["m2", "m3"], true),
            ("?limit=2&after_id=m3&beta=true", &["m4"], false),
            ("?limit=2&before_id=m3", &["m1", "m2"], true),
            ("?limit=2&before_id=m1", &["m0"], false),
            ("?after_id=m4", &[], false),
            ("?after_id=m3&before_id=m1", &[], false),
        ] {
            let uri: Uri = format!("/v1/models{query}").parse().unwrap();
            let value = page(&models, &Page::of(&uri).unwrap()).unwrap();
            let found: Vec<&str> =
                value["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
            assert_eq!((&*found, &value["has_more"]), (ids, &json!(has_more)), "{query}");
            assert_eq!(value["first_id"].as_str(), ids.first().copied(), "{query}");
            assert_eq!(value["last_id"].as_str(), ids.last().copied(), "{query}");
        }
        for query in ["?limit=0", "?limit=1001", "?limit=x", "?limit=-1"] {
            assert!(Page::of(&format!("/v1/models{query}").parse().unwrap()).is_err(), "{query}");
        }
        let unknown = Page { after_id: Some("none".to_owned()), ..Page::default() };
        assert!(page(&models, &unknown).is_err());
    }

    #[test]
    fn a_client_is_known_by_its_headers() {
        let cases: [(&[(&'static str, &str)], Dialect); 6] = [
            (&[], Dialect::Chat),
            (&[("anthropic-version", "2023-06-01")], Dialect::Messages),
            (&[("x-api-key", "k"), ("user-agent", "Anthropic/Python 0.70.0")], Dialect::Messages),
            (&[("x-api-key", "k"), ("user-agent", "claude-cli/2.0 (external)")], Dialect::Messages),
            (&[("authorization", "Bearer k"), ("user-agent", "OpenAI/Python 2.0")], Dialect::Chat),
            (&[("x-api-key", "k"), ("user-agent", "curl/8")], Dialect::Chat),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(dialect(&headers), expected, "{sent:?}");
        }
    }

    #[test]
    fn names_in_paths_are_decoded() {
        for (path, name) in [
            ("openai/gpt-5", Some("openai/gpt-5")),
            ("openai%2Fgpt-5", Some("openai/gpt-5")),
            ("%e2%82%ac", Some("€")),
            ("%ff", None),
            ("%2", None),
            ("%zz", None),
        ] {
            assert_eq!(decoded(path).as_deref(), name, "{path}");
        }
    }
}
