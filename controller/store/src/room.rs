//! Limits on numbers of rows. Counting and adding are one transaction that first locks a row, so that of two at once the
//! second counts the rows of the first, on either database. Never decides how many are allowed.

use cofferdam_contract::OrganizationId;
use sqlx::{Any, Transaction, query, query_scalar};

use crate::columns::unsigned;
use crate::{Error, Store};

/// The outcome of adding a row of which there may be so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    Done,
    /// The name is taken.
    Taken,
    /// There are as many as are allowed.
    Full,
}

/// The outcome of adding or replacing a row of which there may be so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Added,
    Replaced {
        /// The time at which the row was added.
        created_at: i64,
    },
    /// There are as many as are allowed.
    Full,
}

impl Store {
    /// A transaction that counts an organization's rows: others of the same organization wait until it ends.
    pub(crate) async fn begin_counted(
        &self,
        organization: &OrganizationId,
    ) -> Result<Transaction<'static, Any>, Error> {
        let mut tx = self.pool.begin().await?;
        take_turn(&mut tx, organization).await?;
        Ok(tx)
    }
}

/// Waits until no other transaction counts rows of the organization, and makes others wait until this one ends.
pub(crate) async fn take_turn(tx: &mut Transaction<'static, Any>, organization: &OrganizationId) -> Result<(), Error> {
    // The update changes nothing: in PostgreSQL it locks the row, in SQLite it makes this transaction the writer.
    query("UPDATE organizations SET created_at = created_at WHERE id = $1")
        .bind(organization.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The number of an organization's rows, by a statement that binds only the organization.
pub(crate) async fn count(
    tx: &mut Transaction<'static, Any>,
    sql: &'static str,
    organization: &OrganizationId,
) -> Result<u64, Error> {
    Ok(unsigned(query_scalar(sql).bind(organization.as_str()).fetch_one(&mut **tx).await?))
}
