//! Organizations, and the one that the first start creates.

use cofferdam_contract::OrganizationId;
use cofferdam_core::now;
use sqlx::query;

use crate::{Error, Store};

/// The environment that every organization has.
pub(crate) const LOCAL_ENVIRONMENT: &str = "local";

impl Store {
    /// Creates the organization `default` with its environment `local`, if they do not exist.
    pub(crate) async fn ensure_default_organization(&self) -> Result<(), Error> {
        let organization = OrganizationId::default_organization();
        self.ensure_organization(&organization).await?;
        query(
            "INSERT INTO environments (id, organization, name, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(LOCAL_ENVIRONMENT)
        .bind(organization.as_str())
        .bind(LOCAL_ENVIRONMENT)
        .bind(now())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Creates an organization, if it does not exist.
    ///
    /// # Errors
    /// The store failed.
    pub async fn ensure_organization(&self, organization: &OrganizationId) -> Result<(), Error> {
        query("INSERT INTO organizations (id, name, created_at) VALUES ($1, $1, $2) ON CONFLICT DO NOTHING")
            .bind(organization.as_str())
            .bind(now())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
