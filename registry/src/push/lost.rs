//! Blobs that a registry says it has and does not: it refuses the manifest for them. They are noted, so that the next reading
//! of the archive, now or in another push, sends them instead of asking for them.

use bytes::Bytes;

use super::cache::{LayerCache, lost_key};
use super::sink::{Arrived, How};
use crate::client::Client;
use crate::client::error::{ClientError, Kind};
use crate::digest::Digest;

/// The cache, as far as it knows of lost blobs.
pub(super) struct Memory<'a> {
    pub cache: &'a std::sync::Arc<dyn LayerCache>,
    pub scope: &'a str,
    pub repository: &'a str,
}

impl Memory<'_> {
    /// Uploads a blob from memory, unless the registry has it and was not wrong about it.
    pub(super) async fn put(&self, client: &Client, bytes: &Bytes) -> Result<(), ClientError> {
        let key = lost_key(self.repository, &Digest::of(bytes));
        if self.cache.get(self.scope, &key).await.is_none() {
            return client.put_blob(bytes).await.map(drop);
        }
        client.send_blob(bytes).await?;
        self.cache.forget(self.scope, &key).await;
        Ok(())
    }

    /// Notes what was not sent, after the registry refused the manifest because it lacks a blob. The error is one that a
    /// second reading mends, unless all was sent this time.
    pub(super) async fn note(&self, error: ClientError, arrived: &[Arrived], small: Vec<Digest>) -> ClientError {
        let skipped = arrived.iter().filter(|layer| layer.how != How::Sent).map(|layer| layer.digest);
        let skipped: Vec<Digest> = skipped.collect();
        let any = !skipped.is_empty();
        for blob in skipped.into_iter().chain(small) {
            self.cache.put(self.scope, &lost_key(self.repository, &blob), "1".to_owned()).await;
        }
        if any {
            let what = format!("{}: it said that it has layers, and lost them", error.what);
            return ClientError { kind: Kind::Lost, what, ..error }
                .advise("Push again: they are sent then, whatever it says");
        }
        ClientError { kind: Kind::Broken, ..error }
            .advise("All layers were sent to it, or are the next time: push again, and if that fails, see its log")
    }
}
