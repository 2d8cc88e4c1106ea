//! Reads suspended states and snapshots back into memory. Damaged ones are named, set aside and never used.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{Problem, SessionId};

use super::{Dormant, Place, no_room};
use crate::error::Error;
use crate::session::disk::{Meta, Part, ReadError, StateFolder};
use crate::sums::Unchecked;

/// A state cannot be made live again.
pub(in crate::session) enum Unloadable {
    /// It never can, for this reason.
    Damaged(Problem),
    Other(Error),
}

impl From<Unloadable> for Error {
    fn from(unloadable: Unloadable) -> Self {
        match unloadable {
            Unloadable::Damaged(problem) => problem.into(),
            Unloadable::Other(error) => error,
        }
    }
}

/// A state that was read back, and its memory, which is to be checked before a guest is made of it.
pub(in crate::session) struct Loaded {
    dormant: Dormant,
    memory: Unchecked,
}

impl Loaded {
    /// The state, once its memory is checked.
    pub(in crate::session) fn checked(
        self,
        id: &SessionId,
        folder: &StateFolder,
        about: &str,
    ) -> Result<Dormant, Unloadable> {
        self.checked_beside(id, folder, about, |_| ()).map(|(dormant, ())| dormant)
    }

    /// The same, while `work` already uses the state. It is returned only if the check succeeds.
    pub(super) fn checked_beside<R>(
        self,
        id: &SessionId,
        folder: &StateFolder,
        about: &str,
        work: impl FnOnce(&Dormant) -> R,
    ) -> Result<(Dormant, R), Unloadable> {
        let Self { dormant, memory } = self;
        let (checked, result) = memory.check_beside(|| work(&dormant));
        match checked {
            Ok(()) => Ok((dormant, result)),
            Err(source) => Err(unloadable(ReadError::of(Part::Memory, source), id, folder, about)),
        }
    }
}

/// Reads a suspended state or a snapshot, of which `about` is the word. Refuses one that another build of the kernel
/// made. A damaged one is set aside, so that it is read and logged once.
pub(in crate::session) fn load_from(
    place: &Place<'_>,
    meta: &mut Meta,
    folder: &StateFolder,
    about: &str,
) -> Result<Loaded, Unloadable> {
    if meta.image_digest != place.kernel.image().digest() {
        let problem = Problem::kernel_changed(format!(
            "this state was made by the {} kernel {}; this server now has {}, whose memory image is another. \
             Start a new session, or run the earlier kernel",
            place.kernel.name(),
            meta.kernel_version,
            place.kernel.version(),
        ));
        return Err(Unloadable::Other(problem.into()));
    }
    let read = folder.read(&meta.id, place.kernel.base(), place.quota(&meta.limits), place.notes);
    let (stored_meta, stored) = read.map_err(|error| unloadable(error, &meta.id, folder, about))?;
    meta.warnings = stored_meta.warnings;
    let uptime = Duration::from_micros(stored_meta.uptime_us);
    let dormant = Dormant { delta: Arc::new(stored.delta), vfs: stored.vfs, uptime };
    Ok(Loaded { dormant, memory: stored.memory })
}

/// Judges a failed read, and sets the state aside if it is damaged.
pub(in crate::session) fn unloadable(
    error: ReadError,
    id: &SessionId,
    folder: &StateFolder,
    about: &str,
) -> Unloadable {
    match error {
        ReadError::Damaged { part, source } => {
            let kept = folder.set_aside(id);
            let path = kept.as_deref().map_or_else(|| "deleted".into(), |path| path.display().to_string());
            tracing::error!(session = %id, %part, %source, path, "{about} is damaged; set aside");
            let why = format!(
                "{about} is damaged and cannot be restored: the bytes of its {part} are not those that were written"
            );
            Unloadable::Damaged(Problem::session_lost(why))
        }
        ReadError::NoRoom => Unloadable::Other(no_room()),
        ReadError::Io(source) => Unloadable::Other(Error::Io { context: "a session's state", source }),
    }
}
