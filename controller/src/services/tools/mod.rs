//! Tools: deployed, listed, called, rolled back, deleted. A tool belongs to an organization; every key of it with the
//! scope sees it.

mod call;
mod catalogue;
mod deploy;
mod names;
mod shown;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::Problem;

pub use call::{arguments, call, call_function};
pub use catalogue::{Catalogue, Shelf, Tool};
pub use deploy::{Deployment, Wanted, deploy, rollback};
pub use shown::{Asked, FolderInfo, FunctionSummary, ToolInfo, ToolSummary, VersionInfo};

use super::App;
use crate::Error;
use crate::auth::Caller;
use crate::blobs::Blobs;
use crate::config::Config;
use crate::oci::Pushed;
use crate::policy::OperatorPolicy;
use crate::store::Store;

/// How often components that no version needs are removed.
pub const SWEEP: Duration = Duration::from_secs(3_600);

/// What tools need beside the rest of the controller.
pub struct Tools {
    pub catalogue: Catalogue,
    pub blobs: Blobs,
    /// Who has which tool's folder.
    pub turns: turns::Turns,
}

impl Tools {
    /// # Errors
    /// A data folder that cannot be written.
    pub fn open(config: &Config, store: &Store, policy: &Arc<OperatorPolicy>) -> Result<Self, Error> {
        let catalogue = Catalogue::new(store.clone(), Arc::clone(policy), config.limits);
        let blobs = Blobs::open(config.data_dir.join("blobs"))?;
        Ok(Self { catalogue, blobs, turns: turns::Turns::default() })
    }
}

fn no_tool(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Problem::not_found(format!("There is no tool {shown:?}.")).into()
}

/// A page of the organization's tools by name, after `after`; and the name to go on after, where there are more.
///
/// # Errors
/// The store's failure.
pub async fn list(
    app: &App,
    caller: &Caller,
    after: &str,
    most: usize,
) -> Result<(Vec<Arc<Tool>>, Option<String>), Error> {
    use std::ops::Bound;
    let shelf = app.tools.catalogue.shelf(&caller.organization).await?;
    let mut rest = shelf.tools.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
    let page: Vec<Arc<Tool>> = rest.by_ref().take(most).map(|(_, tool)| Arc::clone(tool)).collect();
    let next = page.last().filter(|_| rest.next().is_some()).map(|tool| tool.row.tool.clone());
    Ok((page, next))
}

/// One tool, with the versions that are kept.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn show(app: &App, caller: &Caller, name: &str) -> Result<ToolInfo, Error> {
    let shelf = app.tools.catalogue.shelf(&caller.organization).await?;
    let tool = shelf.tools.get(name).ok_or_else(|| no_tool(name))?;
    let mut info = ToolInfo::from(&**tool);
    if info.grants.files.is_some() {
        info.folder = app.store.folder_size(&caller.organization, name).await?.map(FolderInfo::from);
    }
    info.versions = app.store.tool_versions(&caller.organization, name).await?.iter().map(VersionInfo::from).collect();
    Ok(info)
}

/// Deletes a tool with all its versions and all that it kept. Calls that are under way end as they would have.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn delete(app: &App, caller: &Caller, name: &str) -> Result<(), Error> {
    if !app.store.delete_tool(&caller.organization, name).await? {
        return Err(no_tool(name));
    }
    app.tools.catalogue.refresh(&caller.organization).await?;
    Ok(())
}

/// Pushes the component of the version that serves.
///
/// # Errors
/// [`Problem::not_found`], or what the registry did not do.
pub async fn push(app: &App, caller: &Caller, name: &str, reference: &str) -> Result<Pushed, Error> {
    let shelf = app.tools.catalogue.shelf(&caller.organization).await?;
    let tool = shelf.tools.get(name).ok_or_else(|| no_tool(name))?;
    let component = &tool.row.component;
    let bytes = deploy::component(app, &component.digest).await?;
    crate::oci::push(app, reference, component, bytes).await
}

/// Removes components that no version needs.
///
/// # Errors
/// The store's failure; nothing is removed then.
pub async fn sweep(app: &App) -> Result<(), Error> {
    let needed = app.store.tool_digests().await?;
    app.tools.blobs.sweep(needed).await;
    Ok(())
}
