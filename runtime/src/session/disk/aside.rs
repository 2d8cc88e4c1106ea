//! Damaged states, kept for the operator to look at under another name, where nothing reads them. They count like other
//! states; few are kept, not for long, and they make way when there is no room.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_contract::SessionId;

use super::StateFolder;
use crate::files;

/// The extension of damaged states.
pub(super) const DAMAGED: &str = "damaged";
/// The most damaged states that are kept, and for how long, in seconds.
pub(super) const MAX_DAMAGED: usize = 16;
pub(super) const MAX_DAMAGED_S: u64 = 7 * 24 * 3_600;

/// The damaged states of a folder: when each was set aside, in Unix seconds, and its name.
pub(super) type Aside = Vec<(u64, String)>;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl StateFolder {
    /// Keeps a damaged state under another name. Returns its new path, if there is room for it.
    pub(crate) fn set_aside(&self, id: &SessionId) -> Option<PathBuf> {
        self.move_aside(id.as_str()).then(|| self.root.join(id.as_str()).with_extension(DAMAGED))
    }

    /// Returns false if the state could not be kept and was deleted.
    pub(super) fn move_aside(&self, name: &str) -> bool {
        let from = self.root.join(name);
        let to = from.with_extension(DAMAGED);
        let Some(new) = to.file_name().map(|new| new.to_string_lossy().into_owned()) else { return false };
        // An earlier one of the same name makes way.
        if self.delete(&new) {
            self.aside.lock().retain(|(_, kept)| *kept != new);
        }
        if self.ledger.rename(name.as_ref(), new.as_ref(), || fs::rename(&from, &to)).is_err() {
            self.delete(name);
            return false;
        }
        self.aside.lock().push((now(), new));
        while self.aside.lock().len() > MAX_DAMAGED && self.delete_oldest_aside() {}
        true
    }

    /// Notes a damaged state that was found at the start.
    pub(super) fn note_aside(&self, name: String) {
        let since = files::changed_at(&self.root.join(&name)).unwrap_or_default();
        self.aside.lock().push((since, name));
        while self.aside.lock().len() > MAX_DAMAGED && self.delete_oldest_aside() {}
    }

    /// Deletes those that have been kept for long enough.
    pub(super) fn forget_aside(&self) {
        let oldest_kept = now().saturating_sub(MAX_DAMAGED_S);
        loop {
            let over = self.aside.lock().iter().any(|(since, _)| *since < oldest_kept);
            if !over || !self.delete_oldest_aside() {
                return;
            }
        }
    }

    /// Returns false if there is none, or if it cannot be deleted.
    pub(super) fn delete_oldest_aside(&self) -> bool {
        let mut aside = self.aside.lock();
        let oldest = aside.iter().enumerate().min_by_key(|(_, (since, _))| *since).map(|(at, _)| at);
        let Some((_, name)) = oldest.map(|at| aside.swap_remove(at)) else { return false };
        drop(aside);
        self.delete(&name)
    }
}
