//! What is known of layers that were pushed: names and texts within a scope (a registry and an organization). Hints
//! only: whoever uses one asks the registry. Bounded by forgetting what was not used for longest.

use sqlx::{Row, query};

use crate::Error;
use crate::clock::now;
use crate::store::{Store, signed};

impl Store {
    pub async fn layer_hint(&self, scope: &str, name: &str) -> Result<Option<String>, Error> {
        let row = query("SELECT content FROM layer_cache WHERE scope = $1 AND name = $2")
            .bind(scope)
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("content")).transpose()?)
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
        query("DELETE FROM layer_cache WHERE scope = $1 AND name = $2")
            .bind(scope)
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets the oldest hints beyond `most`.
    pub async fn forget_layer_hints(&self, most: u64) -> Result<(), Error> {
        query(
            "DELETE FROM layer_cache WHERE used_at < \
             (SELECT used_at FROM layer_cache ORDER BY used_at DESC LIMIT 1 OFFSET $1)",
        )
        .bind(signed(most.saturating_sub(1)))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
