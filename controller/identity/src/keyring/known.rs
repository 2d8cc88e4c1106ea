//! Callers by the hashes of their keys' texts, and the texts of each key. Never reads a clock or the store.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, Limits, Scopes};
use cofferdam_store::KeyState;

/// A text of a key: its hash in hex, and the caller that it makes.
pub(super) type Text = (String, Arc<Caller>);

/// The texts of a key that are valid at a time, the newest first. None of a key that has ended.
pub(super) fn texts(state: &KeyState, now: i64) -> Vec<Text> {
    let (row, terms) = (&state.row, &state.row.terms);
    if state.revoked || state.closed {
        return Vec::new();
    }
    let caller = |expires_at: Option<i64>, text: u32| {
        let caller = Caller {
            scopes: Scopes::from_text(&row.scopes),
            limits: Limits { key_requests_per_minute: terms.requests_per_minute, organization: state.limits },
            expires_at,
            operator: terms.operator,
            text,
            key: row.id.clone(),
            organization: row.organization.clone(),
        };
        Arc::new(caller)
    };
    let newest = (row.hash.clone(), caller(terms.expires_at, terms.rotations));
    let before = terms.old.as_ref().map(|old| {
        let end = terms.expires_at.map_or(old.expires_at, |end| end.min(old.expires_at));
        (old.hash.clone(), caller(Some(end), terms.rotations.wrapping_sub(1)))
    });
    let lives = |(_, caller): &Text| caller.expires_at.is_none_or(|end| end > now);
    std::iter::once(newest).chain(before).filter(lives).collect()
}

/// The keys.
#[derive(Default)]
pub(super) struct Known {
    by_hash: HashMap<String, Arc<Caller>>,
    by_id: HashMap<String, Vec<String>>,
}

impl<'a> FromIterator<(&'a str, Vec<Text>)> for Known {
    fn from_iter<I: IntoIterator<Item = (&'a str, Vec<Text>)>>(keys: I) -> Self {
        let mut known = Self::default();
        for (id, texts) in keys {
            known.replace(id, &texts, usize::MAX);
        }
        known
    }
}

impl Known {
    pub(super) fn get(&self, hash: &str) -> Option<Arc<Caller>> {
        self.by_hash.get(hash).cloned()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Returns true if the key has exactly these texts.
    pub(super) fn has(&self, id: &str, texts: &[Text]) -> bool {
        let Some(hashes) = self.by_id.get(id) else { return false };
        hashes.len() == texts.len() && texts.iter().all(|(hash, caller)| self.by_hash.get(hash) == Some(caller))
    }

    /// The limits of a key, by its id.
    pub(super) fn limits(&self, id: &str) -> Option<Limits> {
        self.by_id.get(id)?.iter().find_map(|hash| self.by_hash.get(hash)).map(|caller| caller.limits)
    }

    /// The ids of an organization's keys.
    pub(super) fn of_organization(&self, organization: &OrganizationId) -> Vec<String> {
        let own = self.by_hash.values().filter(|caller| caller.organization == *organization);
        own.map(|caller| caller.key.clone()).collect()
    }

    /// Replaces the texts of a key, if there is room for it. Returns the callers before.
    pub(super) fn replace(&mut self, id: &str, texts: &[Text], max: usize) -> Vec<Arc<Caller>> {
        let before = self.remove(id);
        if self.by_id.len() < max && !texts.is_empty() {
            self.by_id.insert(id.to_owned(), texts.iter().map(|(hash, _)| hash.clone()).collect());
            self.by_hash.extend(texts.iter().cloned());
        }
        before
    }

    pub(super) fn remove(&mut self, id: &str) -> Vec<Arc<Caller>> {
        let hashes = self.by_id.remove(id).unwrap_or_default();
        hashes.iter().filter_map(|hash| self.by_hash.remove(hash)).collect()
    }
}
