//! Collects a version's log, from the moment its Job is seen until the Job is removed. A log that cannot be collected
//! does not keep the agent from running.

use std::sync::Arc;

use cofferdam_core::chain;
use cofferdam_environments::Environment;

use super::Step;
use crate::values::redactor;

impl Step {
    /// Does nothing if the log is collected already.
    pub(super) async fn collect(&self, environment: &Environment) {
        let id = self.workload_id();
        let cluster = match self.context.connect(environment) {
            Ok(cluster) => cluster,
            Err(error) => return self.uncollected(&error.to_string()),
        };
        let logs = &self.context.logs;
        if logs.is_watched(&id, &cluster) {
            return;
        }
        // Nothing of the log may be shown unless its secrets are known.
        let values = match self.deployments().values(environment, &self.row).await {
            Ok(values) => values,
            Err(error) => return self.uncollected(&chain(&error)),
        };
        match redactor(&values, &self.row) {
            Ok(redactor) => logs.watch(&id, &cluster, Arc::new(redactor)),
            Err(error) => self.uncollected(&error.to_string()),
        }
    }

    fn uncollected(&self, why: &str) {
        tracing::warn!(agent = %self.row.agent, version = self.row.number, why,
            "a log cannot be collected; it is tried again");
    }
}
