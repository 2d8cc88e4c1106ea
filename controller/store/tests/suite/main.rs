//! The store's tests. Each runs on SQLite, and on PostgreSQL if `COFFERDAM_TEST_DATABASE_URL` names one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod agents;
mod connect;
mod definitions;
mod identity;
mod keyvalue;
mod limits;
mod logs;
mod model_settings;
mod records;
mod run_tokens;
mod tools;
mod work;

use cofferdam_contract::OrganizationId;
use cofferdam_store::{DatabaseConfig, Store};
use cofferdam_testkit::database::On;

/// Runs a test on a new database of each kind.
async fn on_each(test: impl AsyncFn(&DatabaseConfig, &Store)) {
    for on in On::all() {
        let folder = tempfile::tempdir().unwrap();
        let config = on.database(&folder).await;
        let store = Store::open(&config).await.unwrap();
        test(&config, &store).await;
        store.close().await;
    }
}

fn organization() -> OrganizationId {
    OrganizationId::default_organization()
}

fn stranger() -> OrganizationId {
    OrganizationId::parse("stranger").unwrap()
}
