//! The service for variables that every agent of an organization gets. A value is stored as the text that was sent: `007`
//! stays `007`.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{Caller, Secret, Vault, check_variable_name, check_variable_value, now};
use cofferdam_store::{Store, VariableRow};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Error;

/// Variables of one organization.
const MAX_VARIABLES: u64 = 512;
/// Changes in one request.
const MAX_CHANGES: usize = 512;

/// A variable without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct VariableInfo {
    pub name: String,
    /// Unix time in seconds.
    pub updated_at: i64,
}

pub struct Variables {
    store: Store,
    vault: Arc<Vault>,
}

impl Variables {
    pub fn new(store: Store, vault: Arc<Vault>) -> Self {
        Self { store, vault }
    }

    /// Sets variables, and deletes those without a value: all of them or none. Returns the names of all variables. Agents
    /// get them at their next start.
    ///
    /// # Errors
    /// The first invalid variable, or the limit of variables.
    pub async fn sync(
        &self,
        caller: &Caller,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Vec<String>, Error> {
        if changes.len() > MAX_CHANGES {
            return Err(Problem::invalid(format!("at most {MAX_CHANGES} variables in one request")).into());
        }
        let (mut set, mut delete) = (Vec::new(), Vec::new());
        for (name, value) in changes {
            check_variable_name(name)?;
            let Some(value) = value else {
                delete.push(name.clone());
                continue;
            };
            check_variable_value(name, value)?;
            let sealed = self.vault.seal(&context(&caller.organization, name), value.as_bytes())?;
            set.push(VariableRow { name: name.clone(), sealed, updated_at: now() });
        }
        if !self.store.sync_variables(&caller.organization, &set, &delete, MAX_VARIABLES).await? {
            let detail = format!("The limit of {MAX_VARIABLES} variables would be exceeded.");
            return Err(Problem::overloaded(detail).into());
        }
        self.names(caller).await
    }

    /// All variables by name, without their values.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<VariableInfo>, Error> {
        let rows = self.store.variables(&caller.organization).await?;
        Ok(rows.into_iter().map(|row| VariableInfo { name: row.name, updated_at: row.updated_at }).collect())
    }

    /// # Errors
    /// The store's failure.
    pub async fn names(&self, caller: &Caller) -> Result<Vec<String>, Error> {
        let rows = self.store.variables(&caller.organization).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    /// Opens all variables, for the driver alone.
    ///
    /// # Errors
    /// The store's failure, or a value that this process's key does not open.
    pub async fn open(&self, organization: &OrganizationId) -> Result<BTreeMap<String, Secret>, Error> {
        let rows = self.store.variables(organization).await?;
        rows.into_iter().map(|row| self.open_one(organization, row)).collect()
    }

    fn open_one(&self, organization: &OrganizationId, row: VariableRow) -> Result<(String, Secret), Error> {
        let bytes = self.vault.unseal(&context(organization, &row.name), &row.sealed)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok((row.name, Secret::new(text))),
            Err(_) => Err(Error::NotText { name: row.name }),
        }
    }
}

/// The text that a sealed value is bound to.
fn context(organization: &OrganizationId, name: &str) -> String {
    format!("variable\0{}\0{name}", organization.as_str())
}
