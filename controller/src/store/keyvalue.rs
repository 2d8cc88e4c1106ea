//! Key-value namespaces: one for each tool, and one for each API key's snippets. Every change is one transaction that
//! first takes the namespace's row, so that changes of one namespace come one after the other and its counts are right.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_contract::{KeyValueGrant, OrganizationId};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction, query};

use super::{Store, unsigned};
use crate::Error;

/// Whose keys they are.
pub struct Namespace<'a> {
    pub organization: &'a OrganizationId,
    pub owner: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("{0}")]
    Quota(String),
    /// The value, or the request, cannot be.
    #[error("{0}")]
    Value(String),
}

impl From<sqlx::Error> for KeyValueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A statement about one key.
macro_rules! of_key {
    ($what:literal) => {
        concat!($what, " FROM keyvalue WHERE organization = $1 AND owner = $2 AND bucket = $3 AND name = $4")
    };
}

fn of_key<'a>(sql: &'static str, space: &Namespace<'_>, bucket: &str, key: &str) -> Query<'a, Any, AnyArguments> {
    let statement = query(sql).bind(space.organization.as_str().to_owned()).bind(space.owner.to_owned());
    statement.bind(bucket.to_owned()).bind(key.to_owned())
}

/// A namespace that is being changed; nobody else changes it meanwhile.
struct Change<'a> {
    transaction: Transaction<'static, Any>,
    space: &'a Namespace<'a>,
    bucket: &'a str,
    key: &'a str,
    keys: i64,
    bytes: i64,
}

/// Bytes of a value, from its base64.
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
        // Also where it is there already: PostgreSQL locks the row by that.
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

    /// Writes a value in the place of `old`, within the quotas.
    async fn write(&mut self, grant: &KeyValueGrant, old: Option<&str>, new: &str) -> Result<(), KeyValueError> {
        let key = i64::try_from(self.key.len()).unwrap_or(i64::MAX);
        let before = old.map_or(0, |old| key + size(old));
        let (keys, bytes) = (self.keys + i64::from(old.is_none()), self.bytes - before + key + size(new));
        if unsigned(keys) > grant.max_keys && old.is_none() {
            let detail = format!("The namespace has {} keys, which is what is granted.", self.keys);
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

    /// A page of a bucket's keys after `after`, in the database's order of texts.
    pub async fn list_values(
        &self,
        space: &Namespace<'_>,
        bucket: &str,
        after: &str,
        most: usize,
    ) -> Result<Vec<String>, Error> {
        let rows = query(
            "SELECT name FROM keyvalue WHERE organization = $1 AND owner = $2 AND bucket = $3 AND name > $4 \
             ORDER BY name LIMIT $5",
        )
        .bind(space.organization.as_str())
        .bind(space.owner)
        .bind(bucket)
        .bind(after)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
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

    /// Adds to a decimal number, 0 where there is none yet, and gives the sum.
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
        let sum = sum.ok_or_else(|| KeyValueError::Value("The sum has more than 64 bits.".to_owned()))?;
        change.write(grant, old.as_deref(), &BASE64_STANDARD.encode(sum.to_string())).await?;
        change.commit().await?;
        Ok(sum)
    }

    /// Writes `new` where the value is still `old`; whether it was, and the value that was there.
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

/// Forgets a namespace, with the tool that is deleted.
pub(super) async fn drop_values(
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
