//! Runs without a session: each gets a fresh guest, and its files stay available for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::{OrganizationId, Problem, RunId};
use cofferdam_host_api::{FileView, FsError, Sandbox, Vfs};
use parking_lot::Mutex;

use crate::error::Error;
use crate::guest::{Guest, State};
use crate::kernel::Kernel;
use crate::turn::{self, Finished, Job};

/// A guest that has run and is about to return its slot.
pub struct Used {
    guest: Guest,
    sound: bool,
}

impl Used {
    /// Ends the guest and resets its slot for the organization's next run. Call it once the answer is sent.
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
            // Files of earlier runs are dropped before a new run is refused.
            Err(FsError::NoSpace) if files.drop_oldest() => {}
            Err(_) => {
                let detail = "the worker's memory for files is used up; try again in a second";
                return Err(Problem::overloaded(detail).into());
            }
        }
    }
}

/// The files of recent runs, for callers that fetch them. Bounded in number and age.
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
        let mut kept = self.kept.lock();
        if kept.len() >= self.most {
            kept.pop_front();
        }
        kept.push_back(Kept { since: Instant::now(), id, organization, vfs });
    }

    fn drop_oldest(&self) -> bool {
        self.kept.lock().pop_front().is_some()
    }

    /// Drops expired files. Called regularly.
    pub fn expire(&self) {
        let mut kept = self.kept.lock();
        while kept.front().is_some_and(|first| first.since.elapsed() > self.age) {
            kept.pop_front();
        }
    }

    /// A file that a run left, to be read in pieces.
    pub fn view(&self, id: &RunId, organization: &OrganizationId, path: &str) -> Result<FileView, Problem> {
        let gone = || Problem::not_found("no such run, its files have expired, or it left no such file");
        let kept = self.kept.lock();
        let run = kept.iter().find(|run| run.id == *id && run.organization == *organization).ok_or_else(gone)?;
        if run.since.elapsed() > self.age {
            return Err(gone());
        }
        run.vfs.view_file(path).map_err(|_| gone())
    }
}
