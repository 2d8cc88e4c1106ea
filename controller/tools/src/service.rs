//! The service: its parts, and the calls that only read or delete.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::Caller;
use cofferdam_gateway::Gateway;
use cofferdam_policy::{LimitsConfig, OperatorPolicy, RegistriesConfig};
use cofferdam_store::{Store, ToolVersionRow};
use cofferdam_workers::ToolWorkers;

use crate::blobs::Blobs;
use crate::catalogue::Catalogue;
use crate::oci::Artifacts;
use crate::turns::Turns;
use crate::{Error, FolderInfo, PulledTool, PushedTool, Tool, ToolInfo, ToolShelf, VersionInfo};

/// The tools of all organizations.
pub struct Tools {
    pub(crate) store: Store,
    pub(crate) policy: Arc<OperatorPolicy>,
    limits: LimitsConfig,
    pub(crate) workers: Arc<ToolWorkers>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) catalogue: Catalogue,
    pub(crate) blobs: Blobs,
    pub(crate) turns: Turns,
    artifacts: Artifacts,
}

impl Tools {
    /// The components are in the folder `blobs`, which is made when it is needed.
    pub fn new(
        blobs: PathBuf,
        store: Store,
        policy: Arc<OperatorPolicy>,
        limits: LimitsConfig,
        registries: RegistriesConfig,
        workers: Arc<ToolWorkers>,
        gateway: Arc<Gateway>,
    ) -> Arc<Self> {
        Arc::new(Self {
            catalogue: Catalogue::new(store.clone(), Arc::clone(&policy), limits),
            blobs: Blobs::new(blobs),
            turns: Turns::default(),
            artifacts: Artifacts::new(registries, policy.signatures.clone()),
            store,
            policy,
            limits,
            workers,
            gateway,
        })
    }

    /// The organization's tools at this moment, from memory if it is recent.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn shelf(&self, organization: &OrganizationId) -> Result<Arc<ToolShelf>, Error> {
        self.catalogue.shelf(organization).await
    }

    /// A page of the organization's tools by name, after `after`; and the name after which the next page begins.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(
        &self,
        caller: &Caller,
        after: &str,
        most: usize,
    ) -> Result<(Vec<Arc<Tool>>, Option<String>), Error> {
        let shelf = self.shelf(&caller.organization).await?;
        let mut rest = shelf.tools.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        let page: Vec<Arc<Tool>> = rest.by_ref().take(most).map(|(_, tool)| Arc::clone(tool)).collect();
        let next = page.last().filter(|_| rest.next().is_some()).map(|tool| tool.row.tool.clone());
        Ok((page, next))
    }

    /// One tool, with the versions that are kept.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn show(&self, caller: &Caller, name: &str) -> Result<ToolInfo, Error> {
        let tool = self.find(caller, name).await?;
        let mut info = ToolInfo::from(&*tool);
        if info.grants.files.is_some() {
            info.folder = self.store.folder_size(&caller.organization, name).await?.map(FolderInfo::from);
        }
        let versions = self.store.tool_versions(&caller.organization, name).await?;
        info.versions = versions.iter().map(VersionInfo::from).collect();
        Ok(info)
    }

    /// Deletes a tool with all its versions, values and files. Calls under way end normally.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn delete(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        if !self.store.delete_tool(&caller.organization, name).await? {
            return Err(no_tool(name));
        }
        self.catalogue.refresh(&caller.organization).await?;
        Ok(())
    }

    /// Pushes the component of the serving version to a registry.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the registry's failure.
    pub async fn push(&self, caller: &Caller, name: &str, reference: &str) -> Result<PushedTool, Error> {
        let tool = self.find(caller, name).await?;
        let component = &tool.row.component;
        let bytes = self.component(&component.digest).await?;
        self.artifacts.push(reference, component, bytes).await
    }

    /// Pulls a component from a registry.
    ///
    /// # Errors
    /// The registry's failure, or a missing signature that the operator requires.
    pub async fn pull(&self, caller: &Caller, reference: &str) -> Result<PulledTool, Error> {
        self.artifacts.pull(caller, reference).await
    }

    /// True if the operator requires signatures. An uploaded component has none.
    pub fn requires_signatures(&self) -> bool {
        self.policy.signatures.required
    }

    pub(crate) async fn find(&self, caller: &Caller, name: &str) -> Result<Arc<Tool>, Error> {
        let shelf = self.shelf(&caller.organization).await?;
        shelf.tools.get(name).cloned().ok_or_else(|| no_tool(name))
    }

    /// A version of a tool under the operator's policy and limits.
    pub(crate) fn tool(&self, row: ToolVersionRow) -> Tool {
        Tool::new(row, &self.policy, &self.limits)
    }

    /// The component's bytes, for a worker that does not have it.
    pub(crate) async fn component(&self, digest: &str) -> Result<Bytes, Error> {
        let found = self.blobs.read(digest).await?;
        let gone = "The component's file is gone from this server; deploy the tool again.";
        found.ok_or_else(|| Problem::internal(gone).into())
    }
}

pub(crate) fn no_tool(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Problem::not_found(format!("There is no tool {shown:?}.")).into()
}
