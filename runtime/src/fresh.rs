//! Runs without a session: a fresh guest each, and the files it leaves for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_contract::{OrganizationId, Problem, RunId};
use cofferdam_host_api::{FsError, Sandbox, Vfs};

use crate::error::Error;
use crate::guest::{Guest, State};
use crate::kernel::Kernel;
use crate::turn::{self, Finished, Job};

/// A guest that has run, on its way to give its slot back.
pub struct Used {
    guest: Guest,
    sound: bool,
}

impl Used {
    /// Ends the guest and cleans its slot for the organization's next run: after the answer is on its way.
    pub fn clean(self, kernel: &Kernel, organization: &OrganizationId) {
        let (slot, _state) = self.guest.end();
        if let Some(slot) = slot.filter(|_| self.sound) {
            kernel.slots().give(organization, slot);
        }
    }
}

/// Runs a job in a fresh guest, on this thread.
pub fn run(
    kernel: &Kernel,
    organization: &OrganizationId,
    job: Job,
    files: &RunFiles,
) -> Result<(Finished, Used), Error> {
    let vfs = new_vfs(kernel, &job, files)?;
    let slot = kernel.slots().take(organization).map_err(Error::io("a memory slot could not be mapped"))?;
    let mut guest = Guest::birth(kernel, slot, State::new(Sandbox::new(vfs)))?;
    let (id, quota) = (job.id.clone(), job.quota());
    let finished = turn::run(kernel, &mut guest, job, true)?;
    if !finished.outcome.files.is_empty()
        && let Ok(kept) = guest.sandbox().vfs().fork(quota)
    {
        files.keep(id, organization.clone(), kept);
    }
    let sound = finished.sound;
    Ok((finished, Used { guest, sound }))
}

fn new_vfs(kernel: &Kernel, job: &Job, files: &RunFiles) -> Result<Vfs, Error> {
    let quota = job.quota();
    loop {
        match Vfs::new(Arc::clone(kernel.base()), quota) {
            Ok(vfs) => return Ok(vfs),
            // What runs left behind goes before a new run is refused.
            Err(FsError::NoSpace) if files.drop_oldest() => {}
            Err(_) => {
                let detail = "the worker's memory for files is used up; try again in a second";
                return Err(Problem::overloaded(detail).into());
            }
        }
    }
}

/// The files that runs left, for those who come for them: the newest ones, and not for long.
pub struct RunFiles {
    kept: Mutex<VecDeque<Kept>>,
    most: usize,
    age: Duration,
}

struct Kept {
    since: Instant,
    id: RunId,
    organization: OrganizationId,
    vfs: Vfs,
}

impl RunFiles {
    pub fn new(most: usize, age: Duration) -> Self {
        Self { kept: Mutex::default(), most, age }
    }

    fn keep(&self, id: RunId, organization: OrganizationId, vfs: Vfs) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.most {
            kept.pop_front();
        }
        kept.push_back(Kept { since: Instant::now(), id, organization, vfs });
    }

    fn drop_oldest(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop_front().is_some()
    }

    /// Lets go of what is too old; called now and then.
    pub fn expire(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.front().is_some_and(|first| first.since.elapsed() > self.age) {
            kept.pop_front();
        }
    }

    /// A file that a run left.
    pub fn read(&self, id: &RunId, organization: &OrganizationId, path: &str) -> Result<Vec<u8>, Problem> {
        let gone = || Problem::not_found("no such run, its files are no longer kept, or it left no such file");
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let run = kept.iter().find(|run| run.id == *id && run.organization == *organization).ok_or_else(gone)?;
        if run.since.elapsed() > self.age {
            return Err(gone());
        }
        run.vfs.read_file(path).map_err(|_| gone())
    }
}
