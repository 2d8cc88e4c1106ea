//! One agent's segments in the object store. Decoded segments are cached for all readers: a thousand followers cost one
//! read. Every call ends within bounded time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_objects::AnyObjects;
use futures_util::TryStreamExt as _;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::sync::Semaphore;

use crate::positions::AgentKey;
use crate::segment::{Decoded, MAX_COMPRESSED, SegmentInfo, decode};

/// The folder of all logs.
pub(crate) const ROOT: &str = "logs";
/// Decoded segments of all agents together, in bytes.
const MAX_CACHED: u64 = 64 << 20;
/// Segments that are decoded at once: each takes a processor.
const MAX_DECODING: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(40);
/// More segments than any retention leaves.
const MAX_SEGMENTS: usize = 200_000;
/// Characters of an object store's error that are kept.
const MAX_ERROR: usize = 500;

/// The reason why segments cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SegmentError {
    /// Removed by retention or by a person.
    #[error("the segment is gone")]
    Gone,
    /// The operator's fault.
    #[error("the bucket or folder of the object store does not exist; check COFFERDAM_OBJECT_STORE")]
    NoBucket,
    #[error("the object store failed: {0}")]
    Store(String),
    #[error("the object store did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Ours: a task panicked.
    #[error("a segment cannot be decoded: {0}")]
    Decode(String),
}

impl SegmentError {
    /// The error of a call for one object that has to exist.
    fn of_object(error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Gone,
            other => Self::store(other),
        }
    }

    /// The error of a call that fails with `NotFound` only if the bucket does not exist: listing, and writing an object.
    pub(crate) fn of_bucket(error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NoBucket,
            other => Self::store(other),
        }
    }

    pub(crate) fn store(error: &object_store::Error) -> Self {
        Self::Store(error.to_string().chars().take(MAX_ERROR).collect())
    }
}

/// Decoded segments by path and size, least recently used ones dropped first. Clones share them.
#[derive(Clone)]
pub(crate) struct SegmentCache {
    decoded: Cache<(Path, u64), Arc<Decoded>>,
    decoding: Arc<Semaphore>,
}

impl SegmentCache {
    pub(crate) fn new() -> Self {
        let weight = |_: &(Path, u64), decoded: &Arc<Decoded>| u32::try_from(decoded.weight()).unwrap_or(u32::MAX);
        let decoded =
            Cache::builder().max_capacity(MAX_CACHED).weigher(weight).eviction_policy(EvictionPolicy::lru()).build();
        Self { decoded, decoding: Arc::new(Semaphore::new(MAX_DECODING)) }
    }
}

/// One agent's segments.
#[derive(Clone)]
pub(crate) struct SegmentShelf {
    objects: AnyObjects,
    folder: Path,
    cache: SegmentCache,
}

impl SegmentShelf {
    pub(crate) fn new(objects: AnyObjects, cache: SegmentCache, key: &AgentKey) -> Self {
        Self { objects, folder: folder(key), cache }
    }

    /// All segments whose first line is `from` or later, oldest first.
    pub(crate) async fn list(&self, from: u64) -> Result<Vec<SegmentInfo>, SegmentError> {
        let before = SegmentInfo { first: from, first_ms: 0, size: 0 }.name();
        let offset = self.folder.clone().join(before.trim_end_matches(".zst").trim_end_matches(['0', '-']));
        let listed = match from {
            0 => self.objects.list(Some(&self.folder)),
            _ => self.objects.list_with_offset(Some(&self.folder), &offset),
        };
        let found = listed.try_filter_map(|meta| async move {
            Ok(meta.location.filename().and_then(|name| SegmentInfo::parse(name, meta.size)))
        });
        let found = async {
            let mut all: Vec<SegmentInfo> = Vec::new();
            let mut found = std::pin::pin!(found);
            while let Some(info) = found.try_next().await? {
                if all.len() >= MAX_SEGMENTS {
                    break;
                }
                all.push(info);
            }
            Ok(all)
        };
        let mut all = within(found).await?.map_err(|error| SegmentError::of_bucket(&error))?;
        all.retain(|info| info.first >= from);
        all.sort_unstable_by_key(|info| info.first);
        Ok(all)
    }

    /// Reads a segment. Returns at least as much as there was when `info` was made: the newest segment grows.
    pub(crate) async fn read(&self, info: &SegmentInfo) -> Result<Arc<Decoded>, SegmentError> {
        let path = self.path(info);
        let decoded = self.cache.decoded.try_get_with((path.clone(), info.size), self.fetch(path)).await;
        decoded.map_err(Arc::unwrap_or_clone)
    }

    async fn fetch(&self, path: Path) -> Result<Arc<Decoded>, SegmentError> {
        let _place = self.cache.decoding.acquire().await.map_err(|e| SegmentError::Decode(e.to_string()))?;
        let got = async {
            let got = self.objects.get(&path).await?;
            if got.meta.size > MAX_COMPRESSED {
                return Ok(None);
            }
            got.bytes().await.map(Some)
        };
        let Some(bytes) = within(got).await?.map_err(|error| SegmentError::of_object(&error))? else {
            tracing::warn!(%path, "skipping a log segment that is larger than any this program writes");
            return Ok(Arc::new(Decoded { damaged: true, ..Decoded::default() }));
        };
        let decoded = tokio::task::spawn_blocking(move || decode(&bytes));
        let decoded = decoded.await.map_err(|e| SegmentError::Decode(e.to_string()))?;
        if decoded.damaged {
            tracing::warn!(%path, "a log segment is damaged; only the lines before the damage are shown");
        }
        Ok(Arc::new(decoded))
    }

    pub(crate) async fn write(&self, info: &SegmentInfo, bytes: Bytes) -> Result<(), SegmentError> {
        let put = within(self.objects.put(&self.path(info), bytes.into())).await?;
        put.map(|_| ()).map_err(|error| SegmentError::of_bucket(&error))
    }

    /// Removes a segment, if it is there.
    pub(crate) async fn remove(&self, info: &SegmentInfo) -> Result<(), SegmentError> {
        match within(self.objects.delete(&self.path(info))).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(SegmentError::store(&error)),
        }
    }

    fn path(&self, info: &SegmentInfo) -> Path {
        self.folder.clone().join(info.name())
    }
}

/// The folder of an agent's segments.
pub(crate) fn folder(key: &AgentKey) -> Path {
    Path::from_iter([ROOT, key.organization.as_str(), key.agent.as_str()])
}

async fn within<T>(call: impl Future<Output = T>) -> Result<T, SegmentError> {
    tokio::time::timeout(TIMEOUT, call).await.map_err(|_| SegmentError::Timeout)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::positions::Positions;
    use crate::segment::encode;

    fn shelf(agent: &str) -> SegmentShelf {
        let key = AgentKey {
            organization: cofferdam_contract::OrganizationId::default_organization(),
            agent: cofferdam_contract::AgentId::parse(agent).unwrap(),
        };
        SegmentShelf::new(Arc::new(InMemory::new()), SegmentCache::new(), &key)
    }

    #[tokio::test]
    async fn segments_are_listed_from_a_number_on() {
        let shelf = shelf("a");
        for first in [4_096, 1, 100, 99] {
            shelf.write(&SegmentInfo { first, first_ms: 5, size: 0 }, Bytes::from_static(b"x")).await.unwrap();
        }
        let firsts = |from: u64| {
            let shelf = shelf.clone();
            async move { shelf.list(from).await.unwrap().iter().map(|info| info.first).collect::<Vec<_>>() }
        };
        assert_eq!(firsts(0).await, [1, 99, 100, 4_096]);
        assert_eq!(firsts(100).await, [100, 4_096]);
        assert_eq!(firsts(4_097).await, Vec::<u64>::new());
        let gone = SegmentInfo { first: 7, first_ms: 5, size: 1 };
        assert!(matches!(shelf.read(&gone).await, Err(SegmentError::Gone)));
        shelf.remove(&gone).await.unwrap();
    }

    #[tokio::test]
    async fn a_segment_that_grew_is_read_again() {
        let shelf = shelf("a");
        let frame = encode(&[], &Positions::default()).unwrap();
        for times in 1..3 {
            let info = SegmentInfo { first: 1, first_ms: 5, size: (frame.len() * times) as u64 };
            shelf.write(&info, Bytes::from(frame.repeat(times))).await.unwrap();
            assert!(!shelf.read(&info).await.unwrap().damaged);
            let first = shelf.read(&info).await.unwrap();
            assert!(Arc::ptr_eq(&first, &shelf.read(&info).await.unwrap()), "kept");
        }
        shelf.cache.decoded.run_pending_tasks().await;
        assert_eq!(shelf.cache.decoded.entry_count(), 2);
    }

    #[test]
    fn a_missing_bucket_is_told_from_a_missing_segment() {
        let not_found = || object_store::Error::NotFound { path: "x".into(), source: "404".into() };
        assert!(matches!(SegmentError::of_object(&not_found()), SegmentError::Gone));
        let error = SegmentError::of_bucket(&not_found()).to_string();
        assert!(error.contains("COFFERDAM_OBJECT_STORE"), "{error}");
    }
}
