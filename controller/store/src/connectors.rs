//! MCP servers as connectors: their documents, clients, tokens and logins. Everything secret is sealed, and this file cannot
//! open it.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query, query_as, query_scalar};

use crate::columns::{Columns, unsigned};
use crate::room::count;
use crate::{Error, Put, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorRow {
    pub organization: OrganizationId,
    pub name: String,
    /// JSON without secrets.
    pub spec: String,
    pub sealed: String,
    /// Another one after each change.
    pub version: String,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromRow<'_, AnyRow> for ConnectorRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            organization: row.id("organization")?,
            name: row.try_get("name")?,
            spec: row.try_get("spec")?,
            sealed: row.try_get("sealed")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// The token of a person, or of the organization (`person` is empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorTokenRow {
    pub sealed: String,
    /// Another one after each login and refresh.
    pub version: String,
}

/// A login that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorLoginRow {
    /// SHA-256 of its state.
    pub hash: String,
    pub organization: OrganizationId,
    pub connector: String,
    pub person: String,
    pub sealed: String,
    /// Unix time in milliseconds.
    pub expires_at: i64,
}

/// Selects a [`ConnectorRow`].
macro_rules! select {
    ($which:literal) => {
        concat!("SELECT organization, name, spec, sealed, version, created_at, updated_at FROM connectors ", $which)
    };
}

/// Everything that belongs to a connector.
const PARTS: [&str; 3] = [
    "DELETE FROM connector_logins WHERE organization = $1 AND connector = $2",
    "DELETE FROM connector_tokens WHERE organization = $1 AND connector = $2",
    "DELETE FROM connector_clients WHERE organization = $1 AND connector = $2",
];

impl Store {
    /// Adds a connector, unless the organization has `max`; or replaces the one with this name, whose `created_at` stays.
    /// With `forget` the tokens, clients and logins of the one before are deleted.
    pub async fn put_connector(&self, row: &ConnectorRow, max: u64, forget: bool) -> Result<Put, Error> {
        let mut tx = self.begin_counted(&row.organization).await?;
        let before: Option<i64> =
            query_scalar("SELECT created_at FROM connectors WHERE organization = $1 AND name = $2")
                .bind(row.organization.as_str())
                .bind(row.name.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let all = "SELECT COUNT(*) FROM connectors WHERE organization = $1";
        if before.is_none() && count(&mut tx, all, &row.organization).await? >= max {
            tx.rollback().await?;
            return Ok(Put::Full);
        }
        if forget {
            for sql in PARTS {
                query(sql).bind(row.organization.as_str()).bind(row.name.as_str()).execute(&mut *tx).await?;
            }
        }
        query(
            "INSERT INTO connectors (organization, name, spec, sealed, version, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (organization, name) DO UPDATE SET spec = excluded.spec, \
             sealed = excluded.sealed, version = excluded.version, updated_at = excluded.updated_at",
        )
        .bind(row.organization.as_str())
        .bind(row.name.as_str())
        .bind(row.spec.as_str())
        .bind(row.sealed.as_str())
        .bind(row.version.as_str())
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(before.map_or(Put::Added, |created_at| Put::Replaced { created_at }))
    }

    pub async fn connector(&self, organization: &OrganizationId, name: &str) -> Result<Option<ConnectorRow>, Error> {
        let sql = select!("WHERE organization = $1 AND name = $2");
        Ok(query_as(sql).bind(organization.as_str()).bind(name).fetch_optional(&self.pool).await?)
    }

    /// Connectors of an organization with names after `after`, by name.
    pub async fn connectors(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ConnectorRow>, Error> {
        let sql = select!("WHERE organization = $1 AND name > $2 ORDER BY name LIMIT $3");
        Ok(query_as(sql).bind(organization.as_str()).bind(after).bind(limit).fetch_all(&self.pool).await?)
    }

    /// Deletes a connector with its tokens, clients and logins. Returns whether it existed.
    pub async fn delete_connector(&self, organization: &OrganizationId, name: &str) -> Result<bool, Error> {
        // Logins and tokens are written while the organization's turn is held: none comes between.
        let mut tx = self.begin_counted(organization).await?;
        for sql in PARTS {
            query(sql).bind(organization.as_str()).bind(name).execute(&mut *tx).await?;
        }
        let done = query("DELETE FROM connectors WHERE organization = $1 AND name = $2")
            .bind(organization.as_str())
            .bind(name)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// The sealed client for an authorization server.
    pub async fn connector_client(
        &self,
        organization: &OrganizationId,
        connector: &str,
        issuer: &str,
    ) -> Result<Option<String>, Error> {
        let sql = "SELECT sealed FROM connector_clients WHERE organization = $1 AND connector = $2 AND issuer = $3";
        let found = query_scalar(sql).bind(organization.as_str()).bind(connector).bind(issuer);
        Ok(found.fetch_optional(&self.pool).await?)
    }

    /// Keeps the client for an authorization server, and no other one of the connector. Returns false if the connector, as it
    /// is in `version`, is gone.
    pub async fn put_connector_client(
        &self,
        (organization, connector, version): (&OrganizationId, &str, &str),
        issuer: &str,
        sealed: &str,
        now: i64,
    ) -> Result<bool, Error> {
        let mut tx = self.begin_counted(organization).await?;
        let same = "SELECT COUNT(*) FROM connectors WHERE organization = $1 AND name = $2 AND version = $3";
        let same = query_scalar::<_, i64>(same).bind(organization.as_str()).bind(connector).bind(version);
        if same.fetch_one(&mut *tx).await? == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        query("DELETE FROM connector_clients WHERE organization = $1 AND connector = $2")
            .bind(organization.as_str())
            .bind(connector)
            .execute(&mut *tx)
            .await?;
        query(
            "INSERT INTO connector_clients (organization, connector, issuer, sealed, created_at) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(organization.as_str())
        .bind(connector)
        .bind(issuer)
        .bind(sealed)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    pub async fn connector_token(
        &self,
        organization: &OrganizationId,
        connector: &str,
        person: &str,
    ) -> Result<Option<ConnectorTokenRow>, Error> {
        let sql = "SELECT sealed, version FROM connector_tokens \
                   WHERE organization = $1 AND connector = $2 AND person = $3";
        let found = query(sql).bind(organization.as_str()).bind(connector).bind(person);
        let row = found.fetch_optional(&self.pool).await?;
        row.map(|row| Ok(ConnectorTokenRow { sealed: row.try_get("sealed")?, version: row.try_get("version")? }))
            .transpose()
    }

    /// The version of a token, if there is one.
    pub async fn connector_token_version(
        &self,
        organization: &OrganizationId,
        connector: &str,
        person: &str,
    ) -> Result<Option<String>, Error> {
        let sql = "SELECT version FROM connector_tokens WHERE organization = $1 AND connector = $2 AND person = $3";
        let found = query_scalar(sql).bind(organization.as_str()).bind(connector).bind(person);
        Ok(found.fetch_optional(&self.pool).await?)
    }

    /// Takes the refresh of a token for itself, if the token is still the one of `version` and nobody else has it now.
    pub async fn take_connector_refresh(
        &self,
        (organization, connector, person): (&OrganizationId, &str, &str),
        version: &str,
        refresher: &str,
        (now_ms, until_ms): (i64, i64),
    ) -> Result<bool, Error> {
        let done = query(
            "UPDATE connector_tokens SET refresher = $1, refreshing_until = $2 WHERE organization = $3 AND \
             connector = $4 AND person = $5 AND version = $6 AND refreshing_until < $7",
        )
        .bind(refresher)
        .bind(until_ms)
        .bind(organization.as_str())
        .bind(connector)
        .bind(person)
        .bind(version)
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends a refresh: with the new token, or without one. Returns false if the token is another one by now, or gone.
    pub async fn end_connector_refresh(
        &self,
        (organization, connector, person): (&OrganizationId, &str, &str),
        (version, refresher): (&str, &str),
        token: Option<&ConnectorTokenRow>,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let sql = match token {
            Some(_) => {
                "UPDATE connector_tokens SET refresher = NULL, refreshing_until = 0, updated_at = $1, sealed = $6, \
                 version = $7 WHERE organization = $2 AND connector = $3 AND person = $4 AND version = $5 AND refresher = $8"
            }
            None => {
                "UPDATE connector_tokens SET refresher = NULL, refreshing_until = 0, updated_at = $1 \
                 WHERE organization = $2 AND connector = $3 AND person = $4 AND version = $5 AND refresher = $6"
            }
        };
        let mut change = query(sql).bind(now_ms).bind(organization.as_str()).bind(connector).bind(person).bind(version);
        if let Some(token) = token {
            change = change.bind(token.sealed.as_str()).bind(token.version.as_str());
        }
        Ok(change.bind(refresher).execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Deletes a token; with `version`, only that one. Returns whether it was there.
    pub async fn delete_connector_token(
        &self,
        (organization, connector, person): (&OrganizationId, &str, &str),
        version: Option<&str>,
    ) -> Result<bool, Error> {
        let sql = match version {
            Some(_) => {
                "DELETE FROM connector_tokens WHERE organization = $1 AND connector = $2 AND person = $3 AND version = $4"
            }
            None => "DELETE FROM connector_tokens WHERE organization = $1 AND connector = $2 AND person = $3",
        };
        let mut gone = query(sql).bind(organization.as_str()).bind(connector).bind(person);
        if let Some(version) = version {
            gone = gone.bind(version);
        }
        Ok(gone.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Writes down a login that begins, unless the organization has `max` under way. Those that are over are deleted.
    /// Returns false if it has.
    pub async fn begin_connector_login(&self, row: &ConnectorLoginRow, now_ms: i64, max: u64) -> Result<bool, Error> {
        let mut tx = self.begin_counted(&row.organization).await?;
        query("DELETE FROM connector_logins WHERE organization = $1 AND expires_at < $2")
            .bind(row.organization.as_str())
            .bind(now_ms)
            .execute(&mut *tx)
            .await?;
        let all: i64 = query_scalar("SELECT COUNT(*) FROM connector_logins WHERE organization = $1")
            .bind(row.organization.as_str())
            .fetch_one(&mut *tx)
            .await?;
        if unsigned(all) >= max {
            tx.rollback().await?;
            return Ok(false);
        }
        query(
            "INSERT INTO connector_logins (hash, organization, connector, person, sealed, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.hash.as_str())
        .bind(row.organization.as_str())
        .bind(row.connector.as_str())
        .bind(row.person.as_str())
        .bind(row.sealed.as_str())
        .bind(row.expires_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// A login that is not over, of an organization that is neither disabled nor deleted.
    pub async fn connector_login(&self, hash: &str, now_ms: i64) -> Result<Option<ConnectorLoginRow>, Error> {
        let sql = "SELECT l.organization, l.connector, l.person, l.sealed, l.expires_at FROM connector_logins l \
                   JOIN organizations o ON o.id = l.organization \
                   WHERE l.hash = $1 AND l.expires_at >= $2 AND o.disabled_at IS NULL AND o.deleted_at IS NULL";
        let found = query(sql).bind(hash).bind(now_ms).fetch_optional(&self.pool).await?;
        let read = |row: AnyRow| -> Result<_, sqlx::Error> {
            Ok(ConnectorLoginRow {
                hash: hash.to_owned(),
                organization: row.id("organization")?,
                connector: row.try_get("connector")?,
                person: row.try_get("person")?,
                sealed: row.try_get("sealed")?,
                expires_at: row.try_get("expires_at")?,
            })
        };
        Ok(found.map(read).transpose()?)
    }

    /// Takes a login: it is given out once, and not after its time.
    pub async fn take_connector_login(&self, hash: &str, now_ms: i64) -> Result<Option<ConnectorLoginRow>, Error> {
        let Some(login) = self.connector_login(hash, i64::MIN).await? else { return Ok(None) };
        let gone = query("DELETE FROM connector_logins WHERE hash = $1").bind(hash).execute(&self.pool).await?;
        Ok((gone.rows_affected() == 1 && login.expires_at >= now_ms).then_some(login))
    }

    /// Stores the token of a login. Returns false if the connector, as it is in `version`, is gone.
    pub async fn put_connector_token(
        &self,
        (organization, connector, person): (&OrganizationId, &str, &str),
        version: &str,
        token: &ConnectorTokenRow,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let mut tx = self.begin_counted(organization).await?;
        let same = "SELECT COUNT(*) FROM connectors WHERE organization = $1 AND name = $2 AND version = $3";
        let same = query_scalar::<_, i64>(same).bind(organization.as_str()).bind(connector).bind(version);
        if same.fetch_one(&mut *tx).await? == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        query(
            "INSERT INTO connector_tokens \
             (organization, connector, person, sealed, version, refresher, refreshing_until, updated_at) \
             VALUES ($1, $2, $3, $4, $5, NULL, 0, $6) ON CONFLICT (organization, connector, person) DO UPDATE SET \
             sealed = excluded.sealed, version = excluded.version, refresher = NULL, refreshing_until = 0, \
             updated_at = excluded.updated_at",
        )
        .bind(organization.as_str())
        .bind(connector)
        .bind(person)
        .bind(token.sealed.as_str())
        .bind(token.version.as_str())
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}
