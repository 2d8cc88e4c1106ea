//! Tokens that end requests under way: of one text of a key, or of the whole key. Never reads a clock or the store.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_core::Caller;
use tokio_util::sync::CancellationToken;

/// A token, for one text of a key or (`None`) for the key.
struct Watch {
    text: Option<u32>,
    expires_at: Option<i64>,
    ended: Arc<CancellationToken>,
}

impl Watch {
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.ended) > 1
    }
}

/// By the key's id. Keys without requests under way are taken out as others come.
#[derive(Default)]
pub(super) struct Watched {
    by_id: HashMap<String, Vec<Watch>>,
}

impl Watched {
    pub(super) fn watch(&mut self, key: &str, caller: Option<&Caller>) -> Arc<CancellationToken> {
        let (text, expires_at) = (caller.map(|caller| caller.text), caller.and_then(|caller| caller.expires_at));
        let same = |watch: &&Watch| watch.text == text && watch.expires_at == expires_at;
        if let Some(watch) = self.by_id.get(key).and_then(|watches| watches.iter().find(same)) {
            return Arc::clone(&watch.ended);
        }
        if self.by_id.len() == self.by_id.capacity() {
            self.by_id.retain(|_, watches| watches.iter().any(Watch::in_use));
        }
        let ended = Arc::new(CancellationToken::new());
        let watches = self.by_id.entry(key.to_owned()).or_default();
        watches.retain(Watch::in_use);
        watches.push(Watch { text, expires_at, ended: Arc::clone(&ended) });
        ended
    }

    /// Ends everything of a key.
    pub(super) fn end(&mut self, key: &str) {
        for watch in self.by_id.remove(key).unwrap_or_default() {
            watch.ended.cancel();
        }
    }

    /// Ends everything of keys that are not there any more.
    pub(super) fn end_others(&mut self, is_there: impl Fn(&str) -> bool) {
        self.by_id.retain(|key, watches| {
            let stays = is_there(key);
            if !stays {
                watches.iter().for_each(|watch| watch.ended.cancel());
            }
            stays
        });
    }

    /// Ends what a key has under way with other texts than these, and gives the rest these texts' times.
    pub(super) fn end_texts(&mut self, key: &str, callers: &[&Caller]) {
        let Some(watches) = self.by_id.get_mut(key) else { return };
        watches.retain_mut(|watch| {
            let Some(text) = watch.text else { return true };
            let Some(caller) = callers.iter().find(|caller| caller.text == text) else {
                watch.ended.cancel();
                return false;
            };
            watch.expires_at = caller.expires_at;
            true
        });
    }

    /// Ends what keys and texts have under way whose time is over.
    pub(super) fn end_expired(&mut self, now: i64) {
        self.by_id.retain(|_, watches| {
            watches.retain(|watch| {
                let over = watch.expires_at.is_some_and(|end| end <= now);
                if over {
                    watch.ended.cancel();
                }
                !over
            });
            !watches.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::OrganizationId;
    use cofferdam_core::Scopes;

    use super::*;

    fn caller(text: u32, expires_at: Option<i64>) -> Caller {
        let caller = Caller::new("k", OrganizationId::default_organization(), Scopes::from_text("run"));
        Caller { text, expires_at, ..caller }
    }

    #[test]
    fn a_text_ends_alone_and_the_key_ends_all() {
        let mut watched = Watched::default();
        let (old, new) = (caller(0, Some(50)), caller(1, None));
        let [of_old, of_new] = [&old, &new].map(|caller| watched.watch("k", Some(caller)));
        let of_key = watched.watch("k", None);
        assert!(Arc::ptr_eq(&of_new, &watched.watch("k", Some(&new))));
        watched.end_expired(49);
        assert!(!of_old.is_cancelled());
        watched.end_expired(50);
        assert!(of_old.is_cancelled() && !of_new.is_cancelled() && !of_key.is_cancelled());
        watched.end_texts("k", &[&caller(2, None)]);
        assert!(of_new.is_cancelled() && !of_key.is_cancelled());
        watched.end("k");
        assert!(of_key.is_cancelled());
        assert!(watched.by_id.is_empty());
    }

    #[test]
    fn a_key_without_requests_makes_room() {
        let mut watched = Watched::default();
        let kept = watched.watch("kept", None);
        for number in 0..10_000 {
            watched.watch(&number.to_string(), None);
        }
        assert!(watched.by_id.len() < 100, "{}", watched.by_id.len());
        assert!(Arc::ptr_eq(&kept, &watched.watch("kept", None)));
    }
}
