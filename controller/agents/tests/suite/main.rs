//! Agents' definitions over a real store. Each test runs on SQLite, and on PostgreSQL if `COFFERDAM_TEST_DATABASE_URL` names one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod deletion;
mod memories;
mod versions;

use std::sync::Arc;

use cofferdam_agents::{AgentView, Agents, Edit, NewAgent};
use cofferdam_contract::work::AgentDefinition;
use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_core::{Caller, Failure, Scopes};
use cofferdam_store::Store;
use cofferdam_testkit::database::On;
use serde_json::{Value, json};

/// Two processes on one store.
struct Rig {
    store: Store,
    here: Arc<Agents>,
    elsewhere: Arc<Agents>,
    caller: Caller,
}

/// Runs a test on a new database of each kind.
async fn on_each(test: impl AsyncFn(&Rig)) {
    for on in On::all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&on.database(&folder).await).await.unwrap();
        let (here, elsewhere) = (Agents::new(store.clone()), Agents::new(store.clone()));
        let rig = Rig { here, elsewhere, caller: caller("default"), store };
        test(&rig).await;
        rig.store.close().await;
    }
}

fn caller(organization: &str) -> Caller {
    Caller::new("key_1", OrganizationId::parse(organization).unwrap(), Scopes::from_text("deploy"))
}

fn id(text: &str) -> AgentId {
    AgentId::parse(text).unwrap()
}

fn definition(fields: Value) -> AgentDefinition {
    serde_json::from_value(fields).unwrap()
}

/// A definition with these instructions.
fn says(text: &str) -> AgentDefinition {
    definition(json!({ "instructions": text }))
}

fn edit(text: &str) -> Edit {
    Edit { definition: Some(says(text)), ..Edit::default() }
}

impl Rig {
    async fn make(&self, name: &str, text: &str) -> AgentView {
        let new = NewAgent { id: Some(id(name)), name: name.to_owned(), definition: says(text), ..NewAgent::default() };
        self.here.create(&self.caller, new).await.unwrap()
    }

    /// The instructions and the version that tasks use now.
    async fn active(&self, name: &str) -> Option<(String, String)> {
        let found = self.here.active(&self.caller.organization, &id(name)).await.unwrap()?;
        Some((found.version.clone(), found.definition.instructions.clone()))
    }

    async fn numbers(&self, name: &str) -> Vec<u64> {
        let listed = self.here.versions(&self.caller, &id(name), None, 1_000).await.unwrap();
        listed.into_iter().map(|version| version.version).collect()
    }
}

/// The status and the sentence of a refusal.
fn refused<T: std::fmt::Debug>(done: Result<T, cofferdam_agents::Error>) -> (u16, String) {
    let error = done.unwrap_err();
    let problem = error.refused().unwrap();
    (problem.status, problem.detail.clone())
}
