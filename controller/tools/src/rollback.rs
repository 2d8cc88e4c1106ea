//! Rolls a tool back to a kept version. The version is tried out again, because the operator's policy may have changed.

use std::sync::Arc;

use cofferdam_contract::Problem;
use cofferdam_core::Caller;
use cofferdam_store::ToolVersionRow;

use crate::service::no_tool;
use crate::{Error, Tool, Tools, names};

impl Tools {
    /// Goes back to a kept version: to `version` (a digest or a number), or to the one before the serving one.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the reason why that version cannot serve now.
    pub async fn rollback(&self, caller: &Caller, name: &str, version: Option<&str>) -> Result<Arc<Tool>, Error> {
        let rows = self.store.tool_versions(&caller.organization, name).await?;
        let Some(current) = rows.iter().find(|row| row.current).map(|row| row.number) else {
            return Err(no_tool(name));
        };
        let matches = |row: &ToolVersionRow| match version {
            None => row.number < current,
            Some(version) => row.component.digest == version || row.number.to_string() == version,
        };
        let others = rows.into_iter().filter(|row| !row.current);
        let Some(row) = others.filter(matches).max_by_key(|row| row.number) else {
            let detail = match version {
                None => format!("There is no version of {name:?} before the one that serves."),
                Some(_) => format!("{name:?} has no other version with that digest or number."),
            };
            return Err(Problem::not_found(detail).into());
        };
        let bytes = self.component(&row.component.digest).await?;
        let mut tool = self.tool(row.clone());
        self.workers.ensure(&row.component.digest, bytes.clone()).await?;
        self.try_out(&mut tool, bytes).await?;
        let published = names::published(name, tool.functions());
        let switched = self.store.switch_tool(&caller.organization, name, row.number, &published).await?;
        Ok(self.switched(row, switched).await?.0)
    }
}
