//! Tools' folders: each is one archive, replaced as a whole in one transaction by whoever knows its current version.
//! Never looks into an archive.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cofferdam_contract::OrganizationId;
use cofferdam_core::{now, random_bits};
use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row, Transaction, query, query_as};

use crate::columns::{Columns, signed};
use crate::{Error, Store};

/// Bytes of an archive in one row.
const PIECE: usize = 1 << 20;

/// A tool's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderRow {
    pub version: i64,
    /// An archive; empty if nothing was saved yet.
    pub archive: Bytes,
}

/// The size of a folder's archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderSize {
    pub bytes: u64,
    /// Unix time in seconds.
    pub updated_at: i64,
}

impl FromRow<'_, AnyRow> for FolderSize {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self { bytes: row.count("byte_count")?, updated_at: row.try_get("updated_at")? })
    }
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::Row(format!("a piece of a tool's folder: {why}"))
}

impl Store {
    /// A tool's folder; an empty one is created if it has none. Returns `None` if there is no such tool.
    pub async fn load_folder(&self, organization: &OrganizationId, tool: &str) -> Result<Option<FolderRow>, Error> {
        if let Some(found) = self.find_folder(organization, tool).await? {
            return Ok(Some(found));
        }
        // A random start: a folder that was read before its tool was deleted cannot be saved into the next tool's.
        let first = i64::try_from(random_bits()? >> 68).unwrap_or_default();
        query(
            "INSERT INTO tool_folders (organization, tool, version, byte_count, updated_at) \
             SELECT organization, name, CAST($3 AS BIGINT), 0, CAST($4 AS BIGINT) FROM tools \
             WHERE organization = $1 AND name = $2 \
             ON CONFLICT (organization, tool) DO NOTHING",
        )
        .bind(organization.as_str())
        .bind(tool)
        .bind(first)
        .bind(now())
        .execute(&self.pool)
        .await?;
        self.find_folder(organization, tool).await
    }

    async fn find_folder(&self, organization: &OrganizationId, tool: &str) -> Result<Option<FolderRow>, Error> {
        // A single statement reads a single state.
        let rows = query(
            "SELECT f.version, f.byte_count, p.content FROM tool_folders f LEFT JOIN tool_folder_pieces p \
             ON p.organization = f.organization AND p.tool = f.tool \
             WHERE f.organization = $1 AND f.tool = $2 ORDER BY p.number",
        )
        .bind(organization.as_str())
        .bind(tool)
        .fetch_all(&self.pool)
        .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let (version, bytes) = (first.try_get("version")?, first.count("byte_count")?);
        let mut archive = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        for row in &rows {
            if let Some(content) = row.try_get::<Option<String>, _>("content")? {
                BASE64_STANDARD.decode_vec(content, &mut archive).map_err(damaged)?;
            }
        }
        if archive.len() as u64 != bytes {
            return Err(damaged(format!("{} bytes instead of {bytes}", archive.len())));
        }
        Ok(Some(FolderRow { version, archive: archive.into() }))
    }

    /// Replaces the archive of that version. Returns false if another version has replaced it meanwhile.
    pub async fn save_folder(
        &self,
        organization: &OrganizationId,
        tool: &str,
        version: i64,
        archive: &[u8],
    ) -> Result<bool, Error> {
        let mut transaction = self.pool.begin().await?;
        let taken = query(
            "UPDATE tool_folders SET version = version + 1, byte_count = $1, updated_at = $2 \
             WHERE organization = $3 AND tool = $4 AND version = $5",
        )
        .bind(signed(archive.len() as u64))
        .bind(now())
        .bind(organization.as_str())
        .bind(tool)
        .bind(version)
        .execute(&mut *transaction)
        .await?;
        if taken.rows_affected() != 1 {
            transaction.rollback().await?;
            return Ok(false);
        }
        drop_pieces(&mut transaction, organization, tool).await?;
        for (number, piece) in archive.chunks(PIECE).enumerate() {
            query("INSERT INTO tool_folder_pieces (organization, tool, number, content) VALUES ($1, $2, $3, $4)")
                .bind(organization.as_str())
                .bind(tool)
                .bind(signed(number as u64))
                .bind(BASE64_STANDARD.encode(piece))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The size of a tool's folder; `None` if it has none.
    pub async fn folder_size(&self, organization: &OrganizationId, tool: &str) -> Result<Option<FolderSize>, Error> {
        let query = query_as("SELECT byte_count, updated_at FROM tool_folders WHERE organization = $1 AND tool = $2");
        Ok(query.bind(organization.as_str()).bind(tool).fetch_optional(&self.pool).await?)
    }
}

/// Deletes a tool's folder.
pub(crate) async fn drop_folder(
    transaction: &mut Transaction<'static, Any>,
    organization: &OrganizationId,
    tool: &str,
) -> Result<(), Error> {
    drop_pieces(transaction, organization, tool).await?;
    query("DELETE FROM tool_folders WHERE organization = $1 AND tool = $2")
        .bind(organization.as_str())
        .bind(tool)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn drop_pieces(
    transaction: &mut Transaction<'static, Any>,
    organization: &OrganizationId,
    tool: &str,
) -> Result<(), Error> {
    query("DELETE FROM tool_folder_pieces WHERE organization = $1 AND tool = $2")
        .bind(organization.as_str())
        .bind(tool)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
