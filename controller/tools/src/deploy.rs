//! A deployment: a version is checked, compiled and tried out before the one transaction that makes it serve. Until
//! then it is invisible, and the previous version serves.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::Problem;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_core::{Caller, chain, now};
use cofferdam_policy::{ToolPolicy, tool_name};
use cofferdam_store::{Switched, ToolVersionRow};

use crate::blobs::digest_of;
use crate::service::no_tool;
use crate::{Error, Tool, Tools, names};

/// The most tools of one organization.
const MAX_TOOLS: u64 = 5_000;

/// A version to deploy.
#[derive(Debug)]
pub struct ToolDeployment {
    pub component: Bytes,
    pub asked: ToolPolicy,
    /// The reference it was pulled from; empty if it was uploaded.
    pub source: String,
}

fn check_name(name: &str) -> Result<(), Problem> {
    if tool_name(name) {
        return Ok(());
    }
    let detail = "A tool's name has 1 to 64 of a-z, 0-9 and `-`, and neither begins nor ends with `-`.";
    Err(Problem::invalid(detail))
}

fn check_size(component: &Bytes) -> Result<(), Problem> {
    match component.len() {
        0 => Err(Problem::bad_component("The component has no bytes.")),
        1..=MAX_COMPONENT_BYTES => Ok(()),
        _ => Err(Problem::too_large(format!("A component may have at most {MAX_COMPONENT_BYTES} bytes."))),
    }
}

fn too_many() -> Error {
    Problem::overloaded(format!("There are {MAX_TOOLS} tools already; delete some.")).into()
}

impl Tools {
    /// Deploys a version. Returns the tool as it serves now, and whether it is new.
    ///
    /// # Errors
    /// An invalid component or invalid grants; nothing has changed then.
    pub async fn deploy(
        &self,
        caller: &Caller,
        name: &str,
        deployment: ToolDeployment,
    ) -> Result<(Arc<Tool>, bool), Error> {
        let ToolDeployment { component: bytes, asked, source } = deployment;
        check_name(name)?;
        check_size(&bytes)?;
        let shelf = self.shelf(&caller.organization).await?;
        // Refused early; only the transaction below keeps the limit.
        if shelf.tools.len() as u64 >= MAX_TOOLS && !shelf.tools.contains_key(name) {
            return Err(too_many());
        }
        let digest = digest_of(&bytes).await?;
        let component = self.workers.ensure(&digest, bytes.clone()).await?;
        let mut tool = self.tool(ToolVersionRow {
            organization: caller.organization.clone(),
            tool: name.to_owned(),
            number: 0,
            component,
            grants: asked.grants,
            limits: asked.limits,
            warnings: asked.warnings,
            source,
            created_at: now(),
            current: false,
            made: 0,
        });
        tool.row.warnings.extend(self.missing(&caller.organization, name, &tool.grants, &shelf).await?);
        self.try_out(&mut tool, bytes.clone()).await?;
        // Only a component that can serve is kept, and only while a version needs it.
        let written = self.blobs.put(&digest, bytes.clone()).await?;
        let switched = self.store.deploy_tool(&tool.row, &names::published(name, tool.functions()), MAX_TOOLS).await?;
        match switched {
            // Another deployment that was refused may have removed it just before.
            Switched::Done { .. } => drop(self.blobs.put(&digest, bytes).await?),
            _ => self.blobs.discard(written, &self.store.tool_digests().await?).await?,
        }
        self.switched(tool.row, switched).await
    }

    /// The tool after the switch to this row's version, and whether it is new.
    pub(crate) async fn switched(&self, row: ToolVersionRow, switched: Switched) -> Result<(Arc<Tool>, bool), Error> {
        match switched {
            Switched::Done { number, made } => {
                // The version serves even if it cannot be read back; the next refresh finds it.
                if let Err(error) = self.catalogue.refresh(&row.organization).await {
                    tracing::warn!(error = chain(&error), "the tools could not be read again");
                }
                tracing::info!(tool = row.tool, number, version = %row.component.digest, "a version of a tool serves");
                Ok((Arc::new(self.tool(ToolVersionRow { number, current: true, ..row })), made))
            }
            Switched::Collision { name: taken, tool: other } => {
                let detail = format!(
                    "The name {taken:?}, under which MCP clients would see a function of {:?}, is taken by the tool \
                     {other:?}. Give this tool another name.",
                    row.tool
                );
                Err(Problem::conflict(detail).into())
            }
            Switched::Missing => Err(no_tool(&row.tool)),
            Switched::Full => Err(too_many()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes_are_checked_before_anything_is_written() {
        assert!(check_name("a-1").is_ok() && check_name("-a").is_err() && check_name("A").is_err());
        assert_eq!(check_size(&Bytes::new()).unwrap_err().kind(), "bad-component");
        assert!(check_size(&Bytes::from_static(b"x")).is_ok());
        let large = Bytes::from(vec![0; MAX_COMPONENT_BYTES + 1]);
        assert_eq!(check_size(&large).unwrap_err().kind(), "too-large");
    }
}
