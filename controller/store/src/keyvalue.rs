//! Key-value namespaces: one for each tool, and one for each API key's snippets. Every change is one transaction that
//! first locks the namespace's row, so that changes of a namespace run one after another and its counts stay right.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_contract::{KeyValueGrant, OrganizationId};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction, query, query_scalar};

use crate::columns::unsigned;
use crate::{Error, Store};

/// The namespace of a tool or of an API key.
pub struct Namespace<'a> {
    pub organization: &'a OrganizationId,
    pub owner: &'a str,
}

/// Why a value was not written. All but `Store` are the caller's to know.
#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    #[error(transparent)]
    Store(#[from] Error),
    /// The namespace would exceed its grant.
    #[error("{0}")]
    Quota(String),
    /// The value is not a number, or the sum overflows.
    #[error("{0}")]
    Value(String),
}

impl From<sqlx::Error> for KeyValueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A statement on one key.
macro_rules! of_key {
    ($what:literal) => {
        concat!($what, " FROM keyvalue WHERE organization = $1 AND owner = $2 AND bucket = $3 AND name = $4")
    };
}

fn of_key<'a>(sql: &'static str, space: &Namespace<'_>, bucket: &str, key: &str) -> Query<'a, Any, AnyArguments> {
    let statement = query(sql).bind(space.organization.as_str().to_owned()).bind(space.owner.to_owned());
    statement.bind(bucket.to_owned()).bind(key.to_owned())
}

/// A change of one key in a locked namespace.
struct Change<'a> {
    transaction: Transaction<'static, Any>,
    space: &'a Namespace<'a>,
    bucket: &'a str,
    key: &'a str,
    keys: i64,
    bytes: i64,
}

/// The number of bytes in a base64 text.
fn size(content: &str) -> i64 {
    let padding = content.bytes().rev().take_while(|byte| *byte == b'=').count();
    i64::try_from((content.len() / 4 * 3).saturating_sub(padding)).unwrap_or(i64::MAX)
}

impl<'a> Change<'a> {
    async fn begin(
        store: &Store,
        space: &'a Namespace<'a>,
        bucket: &'a str,
        key: &'a str,
    ) -> Result<Self, KeyValueError> {
        let mut transaction = store.pool.begin().await?;
        // The update changes nothing; in PostgreSQL it locks a row that already exists.
        let row = query(
            "INSERT INTO keyvalue_spaces (organization, owner, key_count, byte_count) VALUES ($1, $2, 0, 0) \
             ON CONFLICT (organization, owner) DO UPDATE SET key_count = keyvalue_spaces.key_count \
             RETURNING key_count, byte_count",
        )
        .bind(space.organization.as_str())
        .bind(space.owner)
        .fetch_one(&mut *transaction)
        .await?;
        let (keys, bytes) = (row.try_get("key_count")?, row.try_get("byte_count")?);
        Ok(Self { transaction, space, bucket, key, keys, bytes })
    }

    async fn read(&mut self) -> Result<Option<String>, KeyValueError> {
        let row = of_key(of_key!("SELECT content"), self.space, self.bucket, self.key);
        let row = row.fetch_optional(&mut *self.transaction).await?;
        Ok(row.map(|row| row.try_get("content")).transpose()?)
    }

    /// Replaces `old` by `new`, within the grant.
    async fn write(&mut self, grant: &KeyValueGrant, old: Option<&str>, new: &str) -> Result<(), KeyValueError> {
        let key = i64::try_from(self.key.len()).unwrap_or(i64::MAX);
        let before = old.map_or(0, |old| key + size(old));
        let (keys, bytes) = (self.keys + i64::from(old.is_none()), self.bytes - before + key + size(new));
        if unsigned(keys) > grant.max_keys && old.is_none() {
            let detail = format!("The namespace has {} keys; no more are granted.", self.keys);
            return Err(KeyValueError::Quota(detail));
        }
        if unsigned(bytes) > grant.max_bytes && bytes > self.bytes {
            let detail = format!("The namespace would have {bytes} bytes; {} are granted.", grant.max_bytes);
            return Err(KeyValueError::Quota(detail));
        }
        query(
            "INSERT INTO keyvalue (organization, owner, bucket, name, content) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (organization, owner, bucket, name) DO UPDATE SET content = excluded.content",
        )
        .bind(self.space.organization.as_str())
        .bind(self.space.owner)
        .bind(self.bucket)
        .bind(self.key)
        .bind(new)
        .execute(&mut *self.transaction)
        .await?;
        (self.keys, self.bytes) = (keys, bytes);
        Ok(())
    }

    async fn remove(&mut self, old: &str) -> Result<(), KeyValueError> {
        of_key(of_key!("DELETE"), self.space, self.bucket, self.key).execute(&mut *self.transaction).await?;
        self.keys -= 1;
        self.bytes -= i64::try_from(self.key.len()).unwrap_or(i64::MAX) + size(old);
        Ok(())
    }

    async fn commit(mut self) -> Result<(), KeyValueError> {
        query("UPDATE keyvalue_spaces SET key_count = $1, byte_count = $2 WHERE organization = $3 AND owner = $4")
            .bind(self.keys)
            .bind(self.bytes)
            .bind(self.space.organization.as_str())
            .bind(self.space.owner)
            .execute(&mut *self.transaction)
            .await?;
        Ok(self.transaction.commit().await?)
    }
}

impl Store {
    /// A value in base64.
    pub async fn get_value(&self, space: &Namespace<'_>, bucket: &str, key: &str) -> Result<Option<String>, Error> {
        let row = of_key(of_key!("SELECT content"), space, bucket, key).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get("content")).transpose()?)
    }

    pub async fn has_value(&self, space: &Namespace<'_>, bucket: &str, key: &str) -> Result<bool, Error> {
        let row = of_key(of_key!("SELECT name"), space, bucket, key).fetch_optional(&self.pool).await?;
        Ok(row.is_some())
    }

    /// The next `limit` keys of a bucket after `after`, in the database's text order.
    pub async fn list_values(
        &self,
        space: &Namespace<'_>,
        bucket: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let names = query_scalar(
            "SELECT name FROM keyvalue WHERE organization = $1 AND owner = $2 AND bucket = $3 AND name > $4 \
             ORDER BY name LIMIT $5",
        )
        .bind(space.organization.as_str())
        .bind(space.owner)
        .bind(bucket)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        Ok(names)
    }

    pub async fn set_value(
        &self,
        space: &Namespace<'_>,
        grant: &KeyValueGrant,
        bucket: &str,
        key: &str,
        value: &str,
    ) -> Result<(), KeyValueError> {
        let mut change = Change::begin(self, space, bucket, key).await?;
        let old = change.read().await?;
        change.write(grant, old.as_deref(), value).await?;
        change.commit().await
    }

    pub async fn delete_value(&self, space: &Namespace<'_>, bucket: &str, key: &str) -> Result<(), KeyValueError> {
        let mut change = Change::begin(self, space, bucket, key).await?;
        if let Some(old) = change.read().await? {
            change.remove(&old).await?;
        }
        change.commit().await
    }

    /// Adds `delta` to a decimal number and returns the sum. A missing value counts as 0.
    pub async fn increment_value(
        &self,
        space: &Namespace<'_>,
        grant: &KeyValueGrant,
        bucket: &str,
        key: &str,
        delta: i64,
    ) -> Result<i64, KeyValueError> {
        let mut change = Change::begin(self, space, bucket, key).await?;
        let old = change.read().await?;
        let number = old.as_deref().map_or(Some(0), |content| {
            let bytes = BASE64_STANDARD.decode(content).ok()?;
            std::str::from_utf8(&bytes).ok()?.parse::<i64>().ok()
        });
        let number = number.ok_or_else(|| KeyValueError::Value("The value is no decimal number.".to_owned()))?;
        let sum = number.checked_add(delta);
        let sum = sum.ok_or_else(|| KeyValueError::Value("The sum does not fit into 64 bits.".to_owned()))?;
        change.write(grant, old.as_deref(), &BASE64_STANDARD.encode(sum.to_string())).await?;
        change.commit().await?;
        Ok(sum)
    }

    /// Writes `new` if the value is still `old`. Returns whether it was written, and the value found.
    pub async fn swap_value(
        &self,
        space: &Namespace<'_>,
        grant: &KeyValueGrant,
        bucket: &str,
        key: &str,
        old: Option<&str>,
        new: &str,
    ) -> Result<(bool, Option<String>), KeyValueError> {
        let mut change = Change::begin(self, space, bucket, key).await?;
        let found = change.read().await?;
        let swapped = found.as_deref() == old;
        if swapped {
            change.write(grant, old, new).await?;
        }
        change.commit().await?;
        Ok((swapped, found))
    }
}

/// Deletes a namespace.
pub(crate) async fn drop_values(
    transaction: &mut Transaction<'static, Any>,
    space: &Namespace<'_>,
) -> Result<(), Error> {
    for sql in [
        "DELETE FROM keyvalue WHERE organization = $1 AND owner = $2",
        "DELETE FROM keyvalue_spaces WHERE organization = $1 AND owner = $2",
    ] {
        query(sql).bind(space.organization.as_str()).bind(space.owner).execute(&mut **transaction).await?;
    }
    Ok(())
}
