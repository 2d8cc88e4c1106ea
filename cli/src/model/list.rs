//! `cofferdam model list`: the models that the key may use, and their prices where the key may read them.

use anyhow::bail;
use serde_json::{Value, json};

use crate::client::{ClientError, Server, call, read, segment};
use crate::table;
use crate::terminal::{json as print_json, note};
use http::Method;

/// The names of one question for prices.
const NAMES_AT_ONCE: usize = 50;
/// The most models whose prices are asked for.
const MAX_PRICED: usize = 1_000;

/// A model of the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) owner: String,
}

pub(super) async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let models = models(server).await?;
    let costs = costs(server, &models).await?;
    if as_json {
        let one = |(at, model): (usize, &Listed)| {
            let cost = costs.as_ref().and_then(|costs| costs.get(at));
            json!({"id": model.id, "owned_by": model.owner, "cost": cost})
        };
        return print_json(&json!({"models": models.iter().enumerate().map(one).collect::<Vec<_>>()}));
    }
    if models.is_empty() {
        note!("There is no model that this key may use. `cofferdam model --help` shows how to add one.");
    }
    let rows: Vec<_> = models.iter().enumerate().map(|(at, model)| row(model, costs.as_deref(), at)).collect();
    match costs {
        Some(_) => table::print(&["MODEL", "SERVED BY", "IN", "CACHED", "OUT"], &rows)?,
        None => table::print(&["MODEL", "SERVED BY"], &rows)?,
    }
    if costs.is_some() && !models.is_empty() {
        note!(
            "Prices are US dollars per million tokens; `?` is unknown: calls of it are refused where a budget is in money."
        );
    }
    Ok(())
}

pub(super) fn row(model: &Listed, costs: Option<&[Value]>, at: usize) -> Vec<String> {
    let Some(costs) = costs else { return vec![model.id.clone(), model.owner.clone()] };
    let cost = costs.get(at).cloned().unwrap_or_default();
    let served = cost.get("served_by").and_then(Value::as_str).unwrap_or(&model.owner).to_owned();
    let price = |field: &str| match cost.get("price") {
        Some(price) => price.get(field).and_then(Value::as_str).unwrap_or_default().to_owned(),
        None => "?".to_owned(),
    };
    vec![model.id.clone(), served, price("input"), price("cached_input"), price("output")]
}

/// The models that the key may use.
pub(super) async fn models(server: &Server) -> anyhow::Result<Vec<Listed>> {
    let answer: Value = read(&call(server.request(Method::GET, "/v1/models")).await?)?;
    let Some(data) = answer.get("data").and_then(Value::as_array) else { bail!(ClientError::Foreign) };
    let text = |model: &Value, field: &str| model.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(data.iter().map(|model| Listed { id: text(model, "id"), owner: text(model, "owned_by") }).collect())
}

/// The models' prices; `None` for a key that may not read it.
async fn costs(server: &Server, models: &[Listed]) -> anyhow::Result<Option<Vec<Value>>> {
    let mut all = Vec::with_capacity(models.len());
    for some in models.get(..models.len().min(MAX_PRICED)).unwrap_or_default().chunks(NAMES_AT_ONCE) {
        let names: Vec<String> = some.iter().map(|model| segment(&model.id)).collect();
        match of(server, &names.join(",")).await? {
            Some(found) => all.extend(found),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// The costs of names that are written as in a query; `None` for a key that may not read them, such as a run token, and from a
/// server that only serves models.
pub(super) async fn of(server: &Server, names: &str) -> anyhow::Result<Option<Vec<Value>>> {
    match call(server.request(Method::GET, &format!("/v1/model-costs?models={names}"))).await {
        Ok(answer) => {
            let answer: Value = read(&answer)?;
            Ok(Some(answer.get("costs").and_then(Value::as_array).cloned().unwrap_or_default()))
        }
        Err(error) if error.is_closed() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
