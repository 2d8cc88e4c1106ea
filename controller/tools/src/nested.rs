//! Tools called by tools and snippets, through the gateway.

use bytes::Bytes;
use cofferdam_contract::uplink::GrantedTool;
use cofferdam_contract::{OrganizationId, ToolOutcome};
use cofferdam_core::{Caller, Failure};
use cofferdam_gateway::{ToolCallError, ToolCalls};
use futures_util::future::BoxFuture;

use crate::{Tools, arguments};

impl ToolCalls for Tools {
    fn list<'a>(&'a self, organization: &'a OrganizationId) -> BoxFuture<'a, Result<Vec<GrantedTool>, ToolCallError>> {
        Box::pin(async move {
            let shelf = self.shelf(organization).await.map_err(boxed)?;
            let functions = shelf.published_after("").map(|(name, tool, function)| GrantedTool {
                name: name.to_owned(),
                tool: tool.row.tool.clone(),
                function: function.clone(),
            });
            Ok(functions.collect())
        })
    }

    fn call<'a>(
        &'a self,
        caller: &'a Caller,
        tool: &'a str,
        function: &'a str,
        body: Bytes,
        depth: u32,
    ) -> BoxFuture<'a, Result<ToolOutcome, ToolCallError>> {
        Box::pin(async move {
            let arguments = arguments(&body).map_err(boxed)?;
            Self::call(self, caller, tool, function, arguments, depth).await.map_err(boxed)
        })
    }
}

fn boxed(error: impl Failure) -> ToolCallError {
    Box::new(error)
}
