//! What a session is at a moment, and what can become of it. Synchronous: runs on threads that may block.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::{Fault, Limits, Outcome, Problem, SessionState, Status};
use cofferdam_host_api::{Quota, Sandbox, Vfs};

use super::disk::{Meta, StateFolder};
use crate::error::Error;
use crate::guest::{Guest, State};
use crate::kernel::Kernel;
use crate::memory::Delta;
use crate::turn::{self, Finished, Job};

/// A memory and files that no guest uses: what forks and snapshots are made of.
pub struct Dormant {
    delta: Arc<Delta>,
    vfs: Vfs,
    uptime: Duration,
}

/// A state to go back to, and the disk space that it takes for as long as it lives.
pub struct Checkpoint {
    state: Dormant,
    bytes: u64,
    total: Arc<AtomicU64>,
}

impl Checkpoint {
    fn new(state: Dormant, bytes: u64, total: &Arc<AtomicU64>) -> Self {
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { state, bytes, total: Arc::clone(total) }
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a session can go back to when a run has to be stopped: always its state as it is now.
pub enum Past {
    /// Nothing is known of it.
    Unknown,
    /// A fresh interpreter without files.
    Fresh,
    Noted(Checkpoint),
}

/// A session's interpreter.
pub enum Life {
    /// In memory; `newborn` until its first turn, `stored` for as long as it is still what it is on disk.
    Live { guest: Box<Guest>, newborn: bool, stored: bool, past: Past },
    /// A state in memory, shared with whom it was copied from; the first run makes a guest of it.
    Dormant(Dormant),
    /// On disk.
    Suspended,
    /// Gone: why, and by whose fault.
    Lost(Problem),
}

/// Where a life is lived.
pub struct Place<'a> {
    pub kernel: &'a Arc<Kernel>,
    pub folder: &'a StateFolder,
    pub open_files: u64,
    /// What all checkpoints take, in bytes.
    pub noted: &'a Arc<AtomicU64>,
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
    pub fn fresh(place: &Place<'_>, meta: &Meta) -> Result<Self, Error> {
        let vfs = place.vfs(&meta.limits)?;
        let slot = place.kernel.slots().take(&meta.organization).map_err(damaged)?;
        let guest = Guest::birth(place.kernel, slot, State::new(Sandbox::new(vfs)))?;
        Ok(Self::Live { guest: Box::new(guest), newborn: true, stored: false, past: Past::Fresh })
    }

    /// A copy of a state, to be born at its first run.
    pub fn of_copy(copy: Dormant) -> Self {
        Self::Dormant(copy)
    }

    pub fn state(&self) -> SessionState {
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

    /// Makes the session live, wherever it was.
    pub fn wake(&mut self, place: &Place<'_>, meta: &mut Meta) -> Result<(), Error> {
        let dormant = match self {
            Self::Live { .. } => return Ok(()),
            Self::Lost(why) => return Err(why.clone().into()),
            Self::Suspended => load(place, meta)?,
            Self::Dormant(dormant) => Dormant {
                delta: Arc::clone(&dormant.delta),
                vfs: dormant.vfs.fork(place.quota(&meta.limits)).map_err(|_| no_room())?,
                uptime: dormant.uptime,
            },
        };
        let mut slot = place.kernel.slots().take(&meta.organization).map_err(damaged)?;
        slot.apply(&dormant.delta).map_err(damaged)?;
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
            // The state exists anyway: it costs nothing to keep.
            past: Past::Noted(Checkpoint { state: past, bytes: 0, total: Arc::default() }),
        };
        Ok(())
    }

    /// Called before anything in the session changes: from then on the disk would be behind, and it is better to have
    /// nothing there than a state of yesterday.
    fn diverge(&mut self, place: &Place<'_>, meta: &Meta) -> Result<(), Error> {
        if let Self::Live { stored, .. } = self
            && *stored
        {
            place.folder.retire(&meta.id)?;
            *stored = false;
        }
        Ok(())
    }

    /// Runs a job. Where the guest is not sound afterwards the session is what it was before the run, if there is a
    /// checkpoint of that, and otherwise ends.
    pub fn run(&mut self, place: &Place<'_>, meta: &mut Meta, job: Job) -> Result<Finished, Error> {
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

    /// Notes the state as it is now, so that a run that has to be stopped does not end the session. Leaves it where
    /// more than `most` bytes have changed since it was last noted.
    pub fn checkpoint(&mut self, place: &Place<'_>, meta: &mut Meta, most: u64) -> Result<(), Error> {
        let Self::Live { guest, past: Past::Unknown, .. } = self else { return Ok(()) };
        if guest.slot().private_bytes().map_err(damaged)? as u64 > most {
            return Ok(());
        }
        self.copy(place, meta).map(|_| ())
    }

    /// Drops a guest whose slot may not serve again.
    fn end_unclean(self) {
        if let Self::Live { guest, .. } = self {
            drop(guest.end());
        }
    }

    /// The files, for as long as the session is held. A suspended session comes back for it.
    pub fn with_files<R>(
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

    /// A copy of the state as it is now, and what could not be copied.
    pub fn copy(&mut self, place: &Place<'_>, meta: &mut Meta) -> Result<(Dormant, Vec<String>), Error> {
        let quota = place.quota(&meta.limits);
        match self {
            Self::Lost(why) => Err(why.clone().into()),
            Self::Suspended => Ok((load(place, meta)?, meta.warnings.clone())),
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
                let file = place.folder.unnamed().map_err(damaged)?;
                let (slot, store) = guest.at_rest();
                let (delta, bytes) = slot.note(store, file).map_err(damaged)?;
                let delta = Arc::new(delta);
                let settled = slot.settle(store, &delta);
                let sandbox = guest.sandbox();
                let (uptime, warnings) = (sandbox.uptime(), warnings(sandbox));
                let copy = || -> Result<Dormant, Error> {
                    let vfs = sandbox.vfs().fork(quota).map_err(|_| no_room())?;
                    Ok(Dormant { delta: Arc::clone(&delta), vfs, uptime })
                };
                let (first, second) = (copy()?, copy()?);
                match settled {
                    Ok(()) => *past = Past::Noted(Checkpoint::new(second, bytes as u64, place.noted)),
                    Err(error) => {
                        tracing::warn!(session = %meta.id, %error, "a session goes on from the note of its memory");
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

    /// Writes the state to disk, where it is not there already, and lets the guest go.
    pub fn suspend(&mut self, place: &Place<'_>, meta: &mut Meta) -> Result<(), Error> {
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

    /// Writes the state, as it is, into a folder under `meta.id`: a suspended session, or a snapshot.
    pub fn write_to(&mut self, place: &Place<'_>, meta: &mut Meta, folder: &StateFolder) -> Result<u64, Error> {
        meta.image_digest = place.kernel.image().digest().to_owned();
        meta.kernel_version = place.kernel.version().to_owned();
        match self {
            Self::Live { guest, .. } => {
                meta.warnings = warnings(guest.sandbox());
                meta.uptime_us = micros(guest.sandbox().uptime());
                let vfs = guest.sandbox().vfs().fork(place.quota(&meta.limits)).map_err(|_| no_room())?;
                folder.write(meta, &vfs, |file| write_memory(guest, file))
            }
            Self::Dormant(dormant) => {
                meta.uptime_us = micros(dormant.uptime);
                folder.write(meta, &dormant.vfs, |file| dormant.delta.copy_to(file))
            }
            _ => Err(Problem::conflict("there is no live state to write").into()),
        }
    }

    /// Ends the session; its slot serves again.
    pub fn end(self, place: &Place<'_>, meta: &Meta) {
        if let Self::Live { guest, .. } = self
            && let (Some(slot), _) = guest.end()
        {
            place.kernel.slots().give(&meta.organization, slot);
        }
    }
}

/// What a session answers from now on that has ended with a run.
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

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What does not outlive the guest, in words.
fn warnings(sandbox: &mut Sandbox) -> Vec<String> {
    match sandbox.vfs().usage().open {
        0 => Vec::new(),
        open => {
            vec![format!("{open} open files were closed: open files are not part of a suspended or copied session")]
        }
    }
}

fn write_memory(guest: &mut Guest, file: &mut std::fs::File) -> std::io::Result<u64> {
    let (slot, store) = guest.at_rest();
    let runs = slot.changed_pages(store)?;
    file.seek(SeekFrom::Start(0))?;
    slot.with_bytes(store, |memory| Delta::write(file, memory, &runs))
}

/// Reads a suspended state, and refuses one that another build of the kernel has made.
fn load(place: &Place<'_>, meta: &mut Meta) -> Result<Dormant, Error> {
    load_from(place, meta, place.folder)
}

fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
}

/// As a suspended session, from any folder of states.
pub(super) fn load_from(place: &Place<'_>, meta: &mut Meta, folder: &StateFolder) -> Result<Dormant, Error> {
    if meta.image_digest != place.kernel.image().digest() {
        return Err(Problem::kernel_changed(format!(
            "this state was made by the {} kernel {}; this server now has {}, whose memory image is another. \
             Start a new session, or run the earlier kernel",
            place.kernel.name(),
            meta.kernel_version,
            place.kernel.version(),
        ))
        .into());
    }
    let read = folder.read(&meta.id, place.kernel.base(), place.quota(&meta.limits));
    let (stored_meta, stored) = read.map_err(|error| match error {
        Error::Io { source, .. } if is_damage(&source) => {
            tracing::error!(session = %meta.id, %source, "a suspended state is damaged");
            Problem::session_lost("the suspended state is damaged and cannot be brought back").into()
        }
        other => other,
    })?;
    meta.warnings = stored_meta.warnings;
    Ok(Dormant { delta: Arc::new(stored.delta), vfs: stored.vfs, uptime: Duration::from_micros(stored_meta.uptime_us) })
}
