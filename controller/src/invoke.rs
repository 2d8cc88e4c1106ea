//! Tasks of agents, as the API asks for them: made by the loop's door.

use std::sync::Arc;

use cofferdam_agent_loop::Work;
use cofferdam_api::Invoke;
use cofferdam_contract::AgentId;
use cofferdam_contract::work::{InvokeRequest, TaskInfo};
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use futures_util::future::BoxFuture;

/// Makes tasks, whichever process runs them.
pub(crate) struct ByWork(pub(crate) Arc<Work>);

impl Invoke for ByWork {
    fn invoke<'a>(
        &'a self,
        caller: &'a Caller,
        agent: &'a AgentId,
        request: InvokeRequest,
        source: &'static str,
    ) -> BoxFuture<'a, Result<TaskInfo, ApiError>> {
        Box::pin(async move { Ok(self.0.invoke(caller, agent, request, source).await?.task) })
    }
}
