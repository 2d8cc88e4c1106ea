//! Documents that say how an organization's models are reached, and numbers that tell other processes of their changes.
//!
//! Never reads a document: its value is JSON of the caller's, its keys are sealed.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row, Transaction, query, query_as, query_scalar};

use crate::columns::{Columns, signed, unsigned};
use crate::room::take_turn;
use crate::{Error, Put, Store};

/// The name of the row that counts all changes. No organization has it.
const EVERY: &str = "";

/// The most changed organizations that one look tells of.
const MAX_CHANGED: i64 = 1_000;
/// The most documents of one organization, above all limits of their kinds together.
const MAX_DOCUMENTS: i64 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSettingRow {
    pub organization: OrganizationId,
    pub kind: String,
    pub name: String,
    /// JSON.
    pub value: String,
    /// The keys of an upstream.
    pub sealed: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// All documents of an organization, as of a revision or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSettings {
    pub revision: u64,
    pub rows: Vec<ModelSettingRow>,
}

impl FromRow<'_, AnyRow> for ModelSettingRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            organization: row.id("organization")?,
            kind: row.try_get("kind")?,
            name: row.try_get("name")?,
            value: row.try_get("value")?,
            sealed: row.try_get("sealed")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// Selects a [`ModelSettingRow`].
macro_rules! select {
    ($which:literal) => {
        concat!("SELECT organization, kind, name, value, sealed, created_at, updated_at FROM model_settings ", $which)
    };
}

impl Store {
    /// Adds a document, unless the organization has `max` of its kind; or replaces the one with its name, whose
    /// `created_at` stays. Either only if all values of the organization then have at most `max_characters`.
    pub async fn put_model_setting(&self, row: &ModelSettingRow, max: u64, max_characters: u64) -> Result<Put, Error> {
        let mut tx = self.begin_revision(&row.organization).await?;
        let before: Option<i64> =
            query_scalar("SELECT created_at FROM model_settings WHERE organization = $1 AND kind = $2 AND name = $3")
                .bind(row.organization.as_str())
                .bind(row.kind.as_str())
                .bind(row.name.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let all: i64 = query_scalar("SELECT COUNT(*) FROM model_settings WHERE organization = $1 AND kind = $2")
            .bind(row.organization.as_str())
            .bind(row.kind.as_str())
            .fetch_one(&mut *tx)
            .await?;
        let others: i64 = query_scalar(
            "SELECT CAST(COALESCE(SUM(LENGTH(value)), 0) AS BIGINT) FROM model_settings \
             WHERE organization = $1 AND NOT (kind = $2 AND name = $3)",
        )
        .bind(row.organization.as_str())
        .bind(row.kind.as_str())
        .bind(row.name.as_str())
        .fetch_one(&mut *tx)
        .await?;
        let characters = unsigned(others).saturating_add(row.value.chars().count() as u64);
        if characters > max_characters || (before.is_none() && unsigned(all) >= max) {
            tx.rollback().await?;
            return Ok(Put::Full);
        }
        query(
            "INSERT INTO model_settings (organization, kind, name, value, sealed, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (organization, kind, name) DO UPDATE SET \
             value = excluded.value, sealed = excluded.sealed, updated_at = excluded.updated_at",
        )
        .bind(row.organization.as_str())
        .bind(row.kind.as_str())
        .bind(row.name.as_str())
        .bind(row.value.as_str())
        .bind(row.sealed.as_deref())
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(before.map_or(Put::Added, |created_at| Put::Replaced { created_at }))
    }

    pub async fn model_setting(
        &self,
        organization: &OrganizationId,
        kind: &str,
        name: &str,
    ) -> Result<Option<ModelSettingRow>, Error> {
        let sql = select!("WHERE organization = $1 AND kind = $2 AND name = $3");
        Ok(query_as(sql).bind(organization.as_str()).bind(kind).bind(name).fetch_optional(&self.pool).await?)
    }

    /// The documents of one kind, by name.
    pub async fn model_settings_of(
        &self,
        organization: &OrganizationId,
        kind: &str,
    ) -> Result<Vec<ModelSettingRow>, Error> {
        let sql = select!("WHERE organization = $1 AND kind = $2 ORDER BY name LIMIT $3");
        Ok(query_as(sql).bind(organization.as_str()).bind(kind).bind(MAX_DOCUMENTS).fetch_all(&self.pool).await?)
    }

    /// All documents of an organization, by kind and name.
    pub async fn model_settings(&self, organization: &OrganizationId) -> Result<ModelSettings, Error> {
        // The number is read first: the documents are at least as new.
        let revision: Option<i64> = query_scalar("SELECT revision FROM model_revisions WHERE organization = $1")
            .bind(organization.as_str())
            .fetch_optional(&self.pool)
            .await?;
        let sql = select!("WHERE organization = $1 ORDER BY kind, name LIMIT $2");
        let rows = query_as(sql).bind(organization.as_str()).bind(MAX_DOCUMENTS).fetch_all(&self.pool).await?;
        Ok(ModelSettings { revision: unsigned(revision.unwrap_or_default()), rows })
    }

    /// Deletes a document. Returns whether it existed.
    pub async fn delete_model_setting(
        &self,
        organization: &OrganizationId,
        kind: &str,
        name: &str,
    ) -> Result<bool, Error> {
        let mut tx = self.begin_revision(organization).await?;
        let done = query("DELETE FROM model_settings WHERE organization = $1 AND kind = $2 AND name = $3")
            .bind(organization.as_str())
            .bind(kind)
            .bind(name)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Tells every process to read an organization's documents again, for what they name has changed.
    pub async fn touch_model_settings(&self, organization: &OrganizationId) -> Result<(), Error> {
        Ok(self.begin_revision(organization).await?.commit().await?)
    }

    /// The number of the newest change of all.
    pub async fn model_revision(&self) -> Result<u64, Error> {
        let newest = query_scalar("SELECT revision FROM model_revisions WHERE organization = $1");
        Ok(unsigned(newest.bind(EVERY).fetch_one(&self.pool).await?))
    }

    /// The organizations whose documents have changed after a number, each with the number of its last change, in order.
    /// If there are very many, a part of them: ask again after the last one.
    pub async fn changed_model_settings(&self, after: u64) -> Result<Vec<(OrganizationId, u64)>, Error> {
        let rows = query(
            "SELECT organization, revision FROM model_revisions WHERE revision > $1 AND organization <> $2 \
             ORDER BY revision LIMIT $3",
        )
        .bind(signed(after))
        .bind(EVERY)
        .bind(MAX_CHANGED)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.id("organization")?, row.count("revision")?))).collect()
    }

    /// A transaction that changes an organization's documents: its number is the next one of all.
    async fn begin_revision(&self, organization: &OrganizationId) -> Result<Transaction<'static, Any>, Error> {
        let mut tx = self.pool.begin().await?;
        query("UPDATE model_revisions SET revision = revision + 1 WHERE organization = $1")
            .bind(EVERY)
            .execute(&mut *tx)
            .await?;
        take_turn(&mut tx, organization).await?;
        query(
            "INSERT INTO model_revisions (organization, revision) \
             SELECT $1, revision FROM model_revisions WHERE organization = $2 \
             ON CONFLICT (organization) DO UPDATE SET revision = excluded.revision",
        )
        .bind(organization.as_str())
        .bind(EVERY)
        .execute(&mut *tx)
        .await?;
        Ok(tx)
    }
}
