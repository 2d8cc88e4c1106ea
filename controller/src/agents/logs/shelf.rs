//! One agent's segments in the object store. What is read is kept decoded for a while, for all who read the same: a
//! thousand followers cost one read. Every call ends within bounded time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::sync::{OnceCell, Semaphore};

use super::positions::AgentKey;
use super::segment::{Decoded, MOST_COMPRESSED, SegmentInfo, decode};
use crate::objects::AnyObjects;

/// The folder of all logs.
pub const ROOT: &str = "logs";
/// Decoded segments of all agents together.
const CACHED: usize = 64 << 20;
/// Segments that are decoded at once: each takes a processor.
const DECODED_AT_ONCE: usize = 2;
const PATIENCE: Duration = Duration::from_secs(40);
/// More segments than any retention leaves.
const MOST_SEGMENTS: usize = 200_000;

#[derive(Debug, Clone, thiserror::Error)]
pub enum ShelfError {
    /// Somebody removed it: retention, or a person.
    #[error("the segment is gone")]
    Gone,
    /// What the object store says.
    #[error("the object store failed: {0}")]
    Store(String),
}

impl From<object_store::Error> for ShelfError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Gone,
            other => Self::Store(other.to_string().chars().take(500).collect()),
        }
    }
}

type Cell = Arc<OnceCell<Arc<Decoded>>>;

/// Decoded segments, the least recently used ones dropped first.
#[derive(Default)]
struct Kept {
    cells: HashMap<(Path, u64), (Cell, u64)>,
    uses: u64,
}

pub struct Cache {
    kept: Mutex<Kept>,
    decoding: Semaphore,
}

impl Default for Cache {
    fn default() -> Self {
        Self { kept: Mutex::default(), decoding: Semaphore::new(DECODED_AT_ONCE) }
    }
}

impl Cache {
    fn cell(&self, path: &Path, size: u64) -> Cell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let uses = kept.uses;
        let entry = kept.cells.entry((path.clone(), size)).or_default();
        entry.1 = uses;
        Arc::clone(&entry.0)
    }

    fn trim(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let weight = |cell: &Cell| cell.get().map_or(256, |decoded| decoded.weight());
        let mut total: usize = kept.cells.values().map(|(cell, _)| weight(cell)).sum();
        while total > CACHED {
            let oldest = kept.cells.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some((cell, _)) = oldest.and_then(|key| kept.cells.remove(&key)) else { return };
            total -= weight(&cell);
        }
    }
}

#[derive(Clone)]
pub struct Shelf {
    objects: AnyObjects,
    folder: Path,
    cache: Arc<Cache>,
}

impl Shelf {
    pub fn new(objects: AnyObjects, cache: Arc<Cache>, key: &AgentKey) -> Self {
        let folder = Path::from_iter([ROOT, key.organization.as_str(), key.agent.as_str()]);
        Self { objects, folder, cache }
    }

    /// All segments, oldest first; those before the one that begins with line `from` are left out.
    pub async fn list(&self, from: u64) -> Result<Vec<SegmentInfo>, ShelfError> {
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
                if all.len() >= MOST_SEGMENTS {
                    break;
                }
                all.push(info);
            }
            Ok::<_, object_store::Error>(all)
        };
        let mut all = within(found).await?;
        all.retain(|info| info.first >= from);
        all.sort_unstable_by_key(|info| info.first);
        Ok(all)
    }

    /// What a segment holds. At least as much as when `info` was made: the newest one grows.
    pub async fn read(&self, info: &SegmentInfo) -> Result<Arc<Decoded>, ShelfError> {
        let path = self.folder.clone().join(info.name());
        let cell = self.cache.cell(&path, info.size);
        let mut fresh = false;
        let decoded = cell
            .get_or_try_init(|| {
                fresh = true;
                self.fetch(path)
            })
            .await
            .cloned();
        if fresh {
            self.cache.trim();
        }
        decoded
    }

    async fn fetch(&self, path: Path) -> Result<Arc<Decoded>, ShelfError> {
        let _place = self.cache.decoding.acquire().await.map_err(|e| ShelfError::Store(e.to_string()))?;
        let got = async {
            let got = self.objects.get(&path).await?;
            if got.meta.size > MOST_COMPRESSED {
                return Ok(None);
            }
            got.bytes().await.map(Some)
        };
        let Some(bytes) = within(got).await? else {
            tracing::warn!(%path, "a segment of a log is larger than any that this program writes; it is left out");
            return Ok(Arc::new(Decoded { damaged: true, ..Decoded::default() }));
        };
        let decoded = tokio::task::spawn_blocking(move || decode(&bytes));
        let decoded = decoded.await.map_err(|e| ShelfError::Store(e.to_string()))?;
        if decoded.damaged {
            tracing::warn!(%path, "a segment of a log is damaged; what comes before the damage is shown");
        }
        Ok(Arc::new(decoded))
    }

    pub async fn write(&self, info: &SegmentInfo, bytes: Bytes) -> Result<(), ShelfError> {
        within(self.objects.put(&self.folder.clone().join(info.name()), bytes.into())).await.map(|_| ())
    }

    /// One that is gone already is fine.
    pub async fn remove(&self, info: &SegmentInfo) -> Result<(), ShelfError> {
        match within(self.objects.delete(&self.folder.clone().join(info.name()))).await {
            Ok(()) | Err(ShelfError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn within<T>(call: impl Future<Output = object_store::Result<T>>) -> Result<T, ShelfError> {
    let late = |_| ShelfError::Store(format!("no answer within {} s", PATIENCE.as_secs()));
    Ok(tokio::time::timeout(PATIENCE, call).await.map_err(late)??)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::agents::logs::positions::Positions;
    use crate::agents::logs::segment::encode;

    fn shelf(agent: &str) -> Shelf {
        let key = AgentKey {
            organization: cofferdam_contract::OrganizationId::default_organization(),
            agent: cofferdam_contract::AgentId::parse(agent).unwrap(),
        };
        Shelf::new(Arc::new(InMemory::new()), Arc::default(), &key)
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
        assert!(matches!(shelf.read(&gone).await, Err(ShelfError::Gone)));
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
        assert_eq!(shelf.cache.kept.lock().unwrap().cells.len(), 2);
    }
}
