//! The states of a session and their transitions. Synchronous: runs on threads that may block.

mod loading;

use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{Fault, Limits, Outcome, Problem, SessionState, Status};
use cofferdam_host_api::{Quota, Sandbox, Vfs};

use super::disk::{Meta, StateFolder};
use super::ledger::{Lease, Ledger};
use crate::error::Error;
use crate::guest::{Guest, State};
use crate::kernel::Kernel;
use crate::memory::{Delta, Pages, Slot};
use crate::turn::{self, Finished, Job};
use loading::Unloadable;
pub(super) use loading::{load_from, unloadable};

/// The words for a session's state on disk.
const SUSPENDED: &str = "the suspended state";

/// A memory and files that no guest uses. Forks and snapshots are made from it.
pub(crate) struct Dormant {
    delta: Arc<Delta>,
    vfs: Vfs,
    uptime: Duration,
}

/// A state to return to, and the disk space that it holds only for that.
pub(crate) struct Checkpoint {
    state: Dormant,
    _counted: Option<Lease>,
}

/// The state that a session returns to when a run must be stopped. Always matches its current state.
pub(crate) enum Past {
    /// No such state is known.
    Unknown,
    /// A fresh interpreter without files.
    Fresh,
    Noted(Checkpoint),
}

/// A session's interpreter.
pub(crate) enum Life {
    /// In memory. `newborn` until its first turn; `stored` while the state on disk is current.
    Live { guest: Box<Guest>, newborn: bool, stored: bool, past: Past },
    /// A state in memory, shared with the session it was copied from. The first run makes a guest of it.
    Dormant(Dormant),
    /// On disk.
    Suspended,
    /// Gone, with the reason and the party at fault.
    Lost(Problem),
}

/// The surroundings of a session: its kernel, folders and budgets.
pub(crate) struct Place<'a> {
    pub kernel: &'a Arc<Kernel>,
    pub folder: &'a StateFolder,
    pub open_files: u64,
    /// Counts the memories of live sessions that are in files: copies, checkpoints, resumed states.
    pub notes: &'a Arc<Ledger>,
    /// Counts the part of it that only checkpoints need.
    pub checkpoints: &'a Arc<Ledger>,
}

impl Place<'_> {
    fn quota(&self, limits: &Limits) -> Quota {
        turn::quota(limits, self.open_files)
    }

    fn vfs(&self, limits: &Limits) -> Result<Vfs, Error> {
        Vfs::new(Arc::clone(self.kernel.base()), self.quota(limits))
            .map_err(|_| Problem::overloaded("the worker's memory for files is used up; try again").into())
    }
}

fn damaged(source: std::io::Error) -> Error {
    Error::Io { context: "a session's memory", source }
}

impl Life {
    /// A fresh interpreter.
    pub(crate) fn fresh(place: &Place<'_>, meta: &Meta) -> Result<Self, Error> {
        let vfs = place.vfs(&meta.limits)?;
        let slot = place.kernel.slots().take(&meta.organization).map_err(damaged)?;
        let guest = Guest::birth(place.kernel, slot, State::new(Sandbox::new(vfs)))?;
        Ok(Self::Live { guest: Box::new(guest), newborn: true, stored: false, past: Past::Fresh })
    }

    /// A copy of a state, which becomes a guest at its first run.
    pub(crate) fn of_copy(copy: Dormant) -> Self {
        Self::Dormant(copy)
    }

    pub(crate) fn state(&self) -> SessionState {
        match self {
            Self::Live { .. } | Self::Dormant(_) => SessionState::Live,
            Self::Suspended | Self::Lost(_) => SessionState::Suspended,
        }
    }

    fn lost(&self) -> Option<Problem> {
        match self {
            Self::Lost(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Makes the session live, from any state.
    pub(crate) fn wake(&mut self, place: &Place<'_>, meta: &mut Meta) -> Result<(), Error> {
        let slot_with = |delta: &Delta, organization| -> Result<Slot, Error> {
            let mut slot = place.kernel.slots().take(organization).map_err(damaged)?;
            slot.apply(delta).map_err(damaged)?;
            Ok(slot)
        };
        let (dormant, slot) = match self {
            Self::Live { .. } => return Ok(()),
            Self::Lost(why) => return Err(why.clone().into()),
            Self::Suspended => {
                let organization = meta.organization.clone();
                self.load(place, meta, |dormant| slot_with(&dormant.delta, &organization))?
            }
            Self::Dormant(dormant) => {
                let copy = Dormant {
                    delta: Arc::clone(&dormant.delta),
                    vfs: dormant.vfs.fork(place.quota(&meta.limits)).map_err(|_| no_room())?,
                    uptime: dormant.uptime,
                };
                let slot = slot_with(&copy.delta, &meta.organization);
                (copy, slot)
            }
        };
        let slot = slot?;
        let vfs = dormant.vfs.fork(place.quota(&meta.limits)).map_err(|_| no_room())?;
        let past = Dormant { delta: Arc::clone(&dormant.delta), vfs, uptime: dormant.uptime };
        let mut sandbox = Sandbox::new(dormant.vfs);
        sandbox.set_uptime(dormant.uptime);
        let guest = Guest::birth(place.kernel, slot, State::new(sandbox))?;
        let stored = matches!(self, Self::Suspended);
        *self = Self::Live {
            guest: Box::new(guest),
            newborn: true,
            stored,
            // The state exists anyway, so keeping it costs nothing.
            past: Past::Noted(Checkpoint { state: past, _counted: None }),
        };
        Ok(())
    }

    /// The suspended state, and the result of `work` on it, which runs while the state is checked. If the state is
    /// damaged the session is lost from now on.
    fn load<R>(
        &mut self,
        place: &Place<'_>,
        meta: &mut Meta,
        work: impl FnOnce(&Dormant) -> R,
    ) -> Result<(Dormant, R), Error> {
        let loaded = load_from(place, meta, place.folder, SUSPENDED)
            .and_then(|loaded| loaded.checked_beside(&meta.id, place.folder, SUSPENDED, work));
        loaded.map_err(|unloadable| {
            if let Unloadable::Damaged(why) = &unloadable {
                *self = Self::Lost(why.clone());
            }
            unloadable.into()
        })
    }

    /// Called before anything in the session changes. The state on disk would become outdated, and no state is better
    /// than an old one.
    fn diverge(&mut self, place: &Place<'_>, meta: &Meta) -> Result<(), Error> {
        if let Self::Live { stored, .. } = self
            && *stored
        {
            place.folder.retire(&meta.id)?;
            *stored = false;
        }
        Ok(())
    }

    /// Runs a job. If the guest is not sound afterwards, the session returns to its checkpoint from before the run, or
    /// ends if there is none.
    pub(crate) fn run(&mut self, place: &Place<'_>, meta: &mut Meta, job: Job) -> Result<Finished, Error> {
        self.wake(place, meta)?;
        self.diverge(place, meta)?;
        let Self::Live { guest, newborn, past, .. } = self else {
            return Err(Problem::session_lost("the session could not be brought back").into());
        };
        let before = std::mem::replace(past, Past::Unknown);
        let mut finished = turn::run(place.kernel, guest, job, *newborn)?;
        *newborn = false;
        if finished.sound {
            return Ok(finished);
        }
        let outcome = &mut finished.outcome;
        let (next, note) = match before {
            Past::Fresh => (Self::fresh(place, meta)?, "the session is as it was before this run"),
            Past::Noted(before) => {
                let quota = place.quota(&meta.limits);
                let vfs = before.state.vfs.fork(quota).map_err(|_| no_room())?;
                let state = Dormant { delta: Arc::clone(&before.state.delta), vfs, uptime: before.state.uptime };
                (Self::Dormant(state), "the session is as it was before this run")
            }
            Past::Unknown => (Self::Lost(ended_with(outcome)), "the session has ended with it"),
        };
        if let Some(error) = &mut outcome.error {
            error.message = format!("{}; {note}", error.message);
        }
        std::mem::replace(self, next).end_unclean();
        Ok(finished)
    }

    /// Notes the current state, so that stopping a later run does not end the session. Skipped if more than `most`
    /// bytes have changed since the last note.
    pub(crate) fn checkpoint(&mut self, place: &Place<'_>, meta: &mut Meta, most: u64) -> Result<(), Error> {
        let Self::Live { guest, past: Past::Unknown, .. } = self else { return Ok(()) };
        let bytes = guest.slot().private_bytes().map_err(damaged)? as u64;
        if bytes > most || place.checkpoints.take(bytes).is_none() {
            return Ok(());
        }
        self.copy(place, meta).map(|_| ())
    }

    /// Drops a guest whose slot must not be reused.
    fn end_unclean(self) {
        if let Self::Live { guest, .. } = self {
            drop(guest.end());
        }
    }

    /// The session's files, while it is held. Resumes a suspended session.
    pub(crate) fn with_files<R>(
        &mut self,
        place: &Place<'_>,
        meta: &mut Meta,
        change: bool,
        work: impl FnOnce(&Vfs) -> R,
    ) -> Result<R, Error> {
        if matches!(self, Self::Suspended) {
            self.wake(place, meta)?;
        }
        if change {
            self.diverge(place, meta)?;
        }
        match self {
            Self::Live { guest, past, .. } => {
                if change {
                    *past = Past::Unknown;
                }
                Ok(work(guest.sandbox().vfs()))
            }
            Self::Dormant(dormant) => Ok(work(&dormant.vfs)),
            _ => Err(self.lost().unwrap_or_else(|| Problem::internal("no files")).into()),
        }
    }

    /// A copy of the current state, and descriptions of what could not be copied.
    pub(crate) fn copy(&mut self, place: &Place<'_>, meta: &mut Meta) -> Result<(Dormant, Vec<String>), Error> {
        let quota = place.quota(&meta.limits);
        match self {
            Self::Lost(why) => Err(why.clone().into()),
            Self::Suspended => {
                let (dormant, ()) = self.load(place, meta, |_| ())?;
                Ok((dormant, meta.warnings.clone()))
            }
            Self::Dormant(dormant) => {
                let vfs = dormant.vfs.fork(quota).map_err(|_| no_room())?;
                Ok((Dormant { delta: Arc::clone(&dormant.delta), vfs, uptime: dormant.uptime }, Vec::new()))
            }
            Self::Live { past: Past::Noted(Checkpoint { state, .. }), .. } => {
                let vfs = state.vfs.fork(quota).map_err(|_| no_room())?;
                let copy = Dormant { delta: Arc::clone(&state.delta), vfs, uptime: state.uptime };
                Ok((copy, self.open_files()))
            }
            Self::Live { guest, past, .. } => {
                let (slot, store) = guest.at_rest();
                let changes = slot.changes(store).map_err(damaged)?;
                let bytes = changes.bytes();
                let counted = place.notes.take(bytes).ok_or_else(notes_full)?;
                let file = Pages::new(place.folder.unnamed().map_err(damaged)?, counted);
                let delta = Arc::new(slot.note(store, changes, file).map_err(damaged)?);
                let settled = slot.settle(store, &delta);
                let sandbox = guest.sandbox();
                let (uptime, warnings) = (sandbox.uptime(), warnings(sandbox));
                let copy = || -> Result<Dormant, Error> {
                    let vfs = sandbox.vfs().fork(quota).map_err(|_| no_room())?;
                    Ok(Dormant { delta: Arc::clone(&delta), vfs, uptime })
                };
                let (first, second) = (copy()?, copy()?);
                match settled {
                    Ok(()) => {
                        if let Some(counted) = place.checkpoints.take(bytes) {
                            *past = Past::Noted(Checkpoint { state: second, _counted: Some(counted) });
                        }
                    }
                    Err(error) => {
                        tracing::warn!(session = %meta.id, %error, "a session continues from the note of its memory");
                        std::mem::replace(self, Self::Dormant(second)).end_unclean();
                    }
                }
                Ok((first, warnings))
            }
        }
    }

    fn open_files(&mut self) -> Vec<String> {
        match self {
            Self::Live { guest, .. } => warnings(guest.sandbox()),
            _ => Vec::new(),
        }
    }

    /// Writes the state to disk unless it is there already, and ends the guest.
    pub(crate) fn suspend(&mut self, place: &Place<'_>, meta: &mut Meta) -> Result<(), Error> {
        match self {
            Self::Suspended => return Err(Problem::conflict("the session is suspended already").into()),
            Self::Lost(why) => return Err(why.clone().into()),
            Self::Live { stored: true, .. } => {}
            Self::Live { .. } | Self::Dormant(_) => {
                self.write_to(place, meta, place.folder)?;
            }
        }
        std::mem::replace(self, Self::Suspended).end(place, meta);
        Ok(())
    }

    /// Writes the current state into a folder under `meta.id`, as a suspended session or a snapshot.
    pub(crate) fn write_to(&mut self, place: &Place<'_>, meta: &mut Meta, folder: &StateFolder) -> Result<u64, Error> {
        meta.image_digest = place.kernel.image().digest().to_owned();
        meta.kernel_version = place.kernel.version().to_owned();
        match self {
            Self::Live { guest, .. } => {
                meta.warnings = warnings(guest.sandbox());
                meta.uptime_us = micros(guest.sandbox().uptime());
                let vfs = guest.sandbox().vfs().fork(place.quota(&meta.limits)).map_err(|_| no_room())?;
                let (slot, store) = guest.at_rest();
                let runs = slot.changed_pages(store).map_err(damaged)?;
                folder.write(meta, &vfs, Delta::len_of(&runs), |file| write_memory(guest, file, &runs))
            }
            Self::Dormant(dormant) => {
                meta.uptime_us = micros(dormant.uptime);
                folder.write(meta, &dormant.vfs, dormant.delta.file_len(), |file| dormant.delta.copy_to(file))
            }
            _ => Err(Problem::conflict("there is no live state to write").into()),
        }
    }

    /// Ends the session. Its slot is reused.
    pub(crate) fn end(self, place: &Place<'_>, meta: &Meta) {
        if let Self::Live { guest, .. } = self
            && let (Some(slot), _) = guest.end()
        {
            place.kernel.slots().give(&meta.organization, slot);
        }
    }
}

/// The problem that a session returns after one of its runs ended it.
fn ended_with(outcome: &Outcome) -> Problem {
    let fault = match outcome.status {
        Status::Timeout | Status::Limit => Fault::Limit,
        Status::Cancelled => Fault::Caller,
        Status::Ok | Status::Error => Fault::Code,
    };
    let why = outcome.error.as_ref().map(|error| format!(" ({})", error.name)).unwrap_or_default();
    let status = outcome.status.as_str();
    let detail = format!("the session ended with its run {}, which ended with status {status}{why}", outcome.id);
    Problem::session_lost(detail).by(fault)
}

fn no_room() -> Error {
    Problem::overloaded("the worker's memory for files is used up; try again in a second").into()
}

fn notes_full() -> Error {
    let detail = "the disk space for copies of live sessions is used up; suspend or delete sessions";
    Problem::overloaded(detail).into()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Describes the state that does not outlive the guest.
fn warnings(sandbox: &mut Sandbox) -> Vec<String> {
    match sandbox.vfs().usage().open {
        0 => Vec::new(),
        open => {
            vec![format!("{open} open files were closed: open files are not part of a suspended or copied session")]
        }
    }
}

fn write_memory(guest: &mut Guest, file: &mut std::fs::File, runs: &[(usize, usize)]) -> std::io::Result<u64> {
    let (slot, store) = guest.at_rest();
    file.seek(SeekFrom::Start(0))?;
    slot.with_bytes(store, |memory| Delta::write(file, memory, runs))
}
