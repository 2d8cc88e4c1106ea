//! The layer cache: facts about layers that were pushed, by name within a scope (a registry and an organization). They
//! are hints, checked against the registry before use. The least recently used ones are forgotten.

use cofferdam_core::now;
use sqlx::{query, query_scalar};

use crate::columns::signed;
use crate::{Error, Store};

impl Store {
    pub async fn layer_hint(&self, scope: &str, name: &str) -> Result<Option<String>, Error> {
        let query = query_scalar("SELECT content FROM layer_cache WHERE scope = $1 AND name = $2");
        Ok(query.bind(scope).bind(name).fetch_optional(&self.pool).await?)
    }

    pub async fn put_layer_hint(&self, scope: &str, name: &str, content: &str) -> Result<(), Error> {
        query(
            "INSERT INTO layer_cache (scope, name, content, used_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (scope, name) DO UPDATE SET content = excluded.content, used_at = excluded.used_at",
        )
        .bind(scope)
        .bind(name)
        .bind(content)
        .bind(now())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn delete_layer_hint(&self, scope: &str, name: &str) -> Result<(), Error> {
        let query = query("DELETE FROM layer_cache WHERE scope = $1 AND name = $2");
        query.bind(scope).bind(name).execute(&self.pool).await?;
        Ok(())
    }

    /// Deletes the oldest hints beyond `limit`.
    pub async fn forget_layer_hints(&self, limit: u64) -> Result<(), Error> {
        query(
            "DELETE FROM layer_cache WHERE used_at < \
             (SELECT used_at FROM layer_cache ORDER BY used_at DESC LIMIT 1 OFFSET $1)",
        )
        .bind(signed(limit.saturating_sub(1)))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
