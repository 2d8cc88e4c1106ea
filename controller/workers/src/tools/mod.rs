//! Workers of tools: the choice among them, and the upload of a component to one that does not have it.

mod worker;

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::{Component, OrganizationId, Problem, ToolCall, ToolOutcome};
use cofferdam_core::Failure;

use crate::Error;
use crate::load::Balanced;

pub use worker::ToolWorker;

/// The organization that a call belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub organization: &'a OrganizationId,
    /// The most calls that it may have at once at a worker; absent: as many as the worker lets it have.
    pub max_calls: Option<u32>,
}

/// Without a limit of its own.
impl<'a> From<&'a OrganizationId> for Owner<'a> {
    fn from(organization: &'a OrganizationId) -> Self {
        Self { organization, max_calls: None }
    }
}

/// All workers of tools.
pub struct ToolWorkers(Balanced<ToolWorker>);

impl ToolWorkers {
    pub fn new(workers: Vec<Arc<ToolWorker>>) -> Self {
        Self(Balanced::new(workers))
    }

    pub fn all(&self) -> &[Arc<ToolWorker>] {
        self.0.all()
    }

    fn pick(&self, except: Option<&ToolWorker>) -> Result<Arc<ToolWorker>, Error> {
        self.0.pick(except).ok_or_else(|| Problem::unavailable("No worker of tools is ready; see /ready.").into())
    }

    /// Has one of the workers check and compile a component, and returns its description.
    ///
    /// # Errors
    /// As [`ToolWorker::ensure`].
    pub async fn ensure(&self, digest: &str, bytes: Bytes) -> Result<Component, Error> {
        self.pick(None)?.ensure(digest, bytes).await
    }

    /// Makes a call. `component` loads the component's bytes; it is called only if a worker does not have it. Dropping
    /// the future cancels the call.
    ///
    /// # Errors
    /// An invalid call, no worker that could take it, or the error of `component`. A fault of the tool is an outcome.
    pub async fn call<'a, E, F>(
        &self,
        owner: impl Into<Owner<'a>>,
        call: &ToolCall,
        component: impl Fn() -> F,
    ) -> Result<ToolOutcome, E>
    where
        E: Failure + From<Error>,
        F: Future<Output = Result<Bytes, E>>,
    {
        let owner = owner.into();
        let worker = self.pick(None)?;
        let first = call_at(&worker, owner, call, &component).await;
        let Err(error) = &first else { return first };
        // Neither of these has begun.
        let another = is(error, "unavailable") || is(error, "overloaded");
        match self.pick(Some(&worker)) {
            Ok(other) if another => call_at(&other, owner, call, &component).await,
            _ => first,
        }
    }
}

async fn call_at<E, F>(
    worker: &ToolWorker,
    owner: Owner<'_>,
    call: &ToolCall,
    component: &impl Fn() -> F,
) -> Result<ToolOutcome, E>
where
    E: Failure + From<Error>,
    F: Future<Output = Result<Bytes, E>>,
{
    match worker.call(owner, call).await {
        Err(error) if is(&error, "component-missing") => {
            worker.ensure(&call.digest, component().await?).await?;
            Ok(worker.call(owner, call).await?)
        }
        answered => Ok(answered?),
    }
}

fn is(error: &impl Failure, kind: &str) -> bool {
    error.refused().is_some_and(|problem| problem.kind() == kind)
}
