//! Has what a version writes collected from the moment on that its Job is seen, and read to its end before the Job is
//! taken away. A log that cannot be collected keeps no agent from running.

use std::sync::Arc;

use super::Act;
use super::apply::workload_id;
use crate::agents::compose;
use crate::agents::logs::Redactor;
use crate::environments::Environment;

impl Act {
    /// Nothing happens where it is collected already.
    pub(super) async fn collect(&self, environment: &Environment) {
        let id = workload_id(&self.row);
        let cluster = match self.app.agents.connect(environment).await {
            Ok(cluster) => cluster,
            Err(error) => return self.uncollected(&error.to_string()),
        };
        if self.app.logs.is_watched(&id, &cluster) {
            return;
        }
        // Without knowing its secrets nothing of it may be shown.
        let values = match compose::values(&self.app, environment, &self.row).await {
            Ok(values) => values,
            Err(error) => return self.uncollected(&error.chain()),
        };
        match Redactor::for_env(&values) {
            Ok(redactor) => self.app.logs.watch(&id, &cluster, Arc::new(redactor)),
            Err(error) => self.uncollected(&error.to_string()),
        }
    }

    fn uncollected(&self, why: &str) {
        tracing::warn!(agent = %self.row.agent, version = self.row.number, why, "a log is not collected; tried again");
    }
}
