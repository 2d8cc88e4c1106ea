//! A cache in one small file that only its owner can read, for short-lived commands. Concurrent processes are safe: the
//! last writer wins, and a lost entry only costs time.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::LayerCache;

const MAX_ENTRIES: usize = 4_096;
const MAX_FILE: u64 = 4 << 20;
const MAX_TEXT: usize = 1_024;

#[derive(Debug)]
pub struct FileCache {
    path: PathBuf,
    entries: Mutex<Vec<Line>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    scope: String,
    key: String,
    value: String,
}

impl FileCache {
    /// Reads the file if there is one. A damaged file counts as empty.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_FILE);
        let text = if small { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let entries = text.lines().filter_map(|line| serde_json::from_str(line).ok()).take(MAX_ENTRIES).collect();
        Self { path, entries: Mutex::new(entries) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Line>) -> T) -> T {
        work(&mut self.entries.lock())
    }

    fn change(&self, scope: &str, key: &str, value: Option<String>) {
        let text = self.with(|lines| {
            lines.retain(|line| line.scope != scope || line.key != key);
            let line = value.map(|value| Line { scope: scope.to_owned(), key: key.to_owned(), value });
            lines.extend(line.filter(|line| line.scope.len() + line.key.len() + line.value.len() <= MAX_TEXT));
            let over = lines.len().saturating_sub(MAX_ENTRIES);
            lines.drain(..over);
            lines
                .iter()
                .filter_map(|line| serde_json::to_string(line).ok())
                .fold(String::new(), |text, line| text + &line + "\n")
        });
        if let Err(error) = self.write(&text) {
            tracing::debug!(path = %self.path.display(), %error, "the layer cache could not be written");
        }
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let part = self.path.with_extension(format!("{}.part", std::process::id()));
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&part, &self.path)
    }
}

impl LayerCache for FileCache {
    fn get<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, Option<String>> {
        let find = |lines: &mut Vec<Line>| {
            lines.iter().find(|line| line.scope == scope && line.key == key).map(|line| line.value.clone())
        };
        let value = self.with(find);
        Box::pin(std::future::ready(value))
    }

    fn put<'a>(&'a self, scope: &'a str, key: &'a str, value: String) -> BoxFuture<'a, ()> {
        self.change(scope, key, Some(value));
        Box::pin(std::future::ready(()))
    }

    fn forget<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        self.change(scope, key, None);
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn it_survives_and_is_private() {
        let folder = std::env::temp_dir().join(format!("cofferdam-layers-{}", std::process::id()));
        let path = folder.join("sub").join("layers.json");
        let cache = FileCache::open(&path);
        cache.put("r.example", "gzip3 a", "one".into()).await;
        cache.put("r.example", "gzip3 b", "two".into()).await;
        cache.put("r.example", "gzip3 a", "three".into()).await;
        cache.forget("r.example", "gzip3 b").await;
        cache.put("r.example", "long", "x".repeat(2_000)).await;
        let again = FileCache::open(&path);
        assert_eq!(again.get("r.example", "gzip3 a").await.as_deref(), Some("three"));
        assert_eq!(again.get("r.example", "gzip3 b").await, None);
        assert_eq!(again.get("r.example", "long").await, None);
        assert_eq!(again.get("other", "gzip3 a").await, None);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "{broken\n\u{0}").unwrap();
        assert_eq!(FileCache::open(&path).get("r.example", "gzip3 a").await, None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
