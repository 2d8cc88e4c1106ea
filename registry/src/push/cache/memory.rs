//! An in-memory cache with a bounded number of entries. The oldest are dropped first.

use std::collections::{HashMap, VecDeque};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::LayerCache;

const MAX_ENTRIES: usize = 10_000;

type Key = (String, String);

#[derive(Debug, Default)]
pub struct MemoryCache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    values: HashMap<Key, String>,
    /// Keys by age. May contain keys that were already forgotten.
    order: VecDeque<Key>,
}

impl MemoryCache {
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        work(&mut self.0.lock())
    }
}

impl LayerCache for MemoryCache {
    fn get<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, Option<String>> {
        let value = self.with(|entries| entries.values.get(&(scope.to_owned(), key.to_owned())).cloned());
        Box::pin(std::future::ready(value))
    }

    fn put<'a>(&'a self, scope: &'a str, key: &'a str, value: String) -> BoxFuture<'a, ()> {
        let key = (scope.to_owned(), key.to_owned());
        self.with(|entries| {
            if entries.values.insert(key.clone(), value).is_none() {
                entries.order.push_back(key);
            }
            while entries.order.len() > MAX_ENTRIES {
                if let Some(oldest) = entries.order.pop_front() {
                    entries.values.remove(&oldest);
                }
            }
        });
        Box::pin(std::future::ready(()))
    }

    fn forget<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        let key = (scope.to_owned(), key.to_owned());
        self.with(|entries| {
            if entries.values.remove(&key).is_some() {
                entries.order.retain(|other| *other != key);
            }
        });
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scopes_are_apart_and_the_oldest_go() {
        let cache = MemoryCache::new();
        cache.put("a", "k", "1".into()).await;
        assert_eq!(cache.get("a", "k").await.as_deref(), Some("1"));
        assert_eq!(cache.get("b", "k").await, None);
        cache.forget("a", "k").await;
        assert_eq!(cache.get("a", "k").await, None);
        for number in 0..=MAX_ENTRIES {
            cache.put("a", &number.to_string(), String::new()).await;
        }
        assert_eq!(cache.get("a", "0").await, None);
        assert!(cache.get("a", "1").await.is_some());
        assert!(cache.with(|e| e.values.len() == MAX_ENTRIES && e.order.len() == MAX_ENTRIES));
    }
}
