//! Organizations and environments: so far the ones that the first start makes.

use cofferdam_contract::OrganizationId;
use sqlx::query;

use super::Store;
use crate::Error;
use crate::clock::now;

impl Store {
    /// Makes organization `default` with environment `local`, where they are not there yet.
    pub(super) async fn ensure_default_organization(&self) -> Result<(), Error> {
        let organization = OrganizationId::default_organization();
        self.ensure_organization(&organization).await?;
        query(
            "INSERT INTO environments (id, organization, name, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind("local")
        .bind(organization.as_str())
        .bind("local")
        .bind(now())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Makes an organization, where it is not there yet.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn ensure_organization(&self, organization: &OrganizationId) -> Result<(), Error> {
        query("INSERT INTO organizations (id, name, created_at) VALUES ($1, $1, $2) ON CONFLICT DO NOTHING")
            .bind(organization.as_str())
            .bind(now())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
