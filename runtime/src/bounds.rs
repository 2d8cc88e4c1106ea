//! Ends a guest's code from outside (deadline, cancellation, CPU time, limits) and tells such an end from the guest's
//! own failure. Does not choose the bounds.

use std::time::Duration;

use cofferdam_contract::LimitName;
use cofferdam_host_api::{Exit, Interrupt, Interrupted, Stop};
use wasmtime::{Trap, UpdateDeadline};

/// The most host memory that one call across the boundary may use, in bytes.
pub(crate) const HOSTCALL_BYTES: usize = 64 << 20;

/// CPU time used by this thread.
pub fn thread_cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Measures the CPU time of a guest's thread against its limit.
#[derive(Debug, Default)]
pub(crate) struct CpuClock {
    start: Duration,
    limit: Duration,
}

/// The CPU time is used up. A trap in the guest.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the CPU time limit was reached")]
struct CpuSpent;

impl CpuClock {
    /// Starts measuring this thread, up to `limit`.
    pub(crate) fn start(limit: Duration) -> Self {
        Self { start: thread_cpu_time(), limit }
    }

    /// CPU time used since the start.
    pub(crate) fn used(&self) -> Duration {
        thread_cpu_time().saturating_sub(self.start)
    }

    /// Called at each epoch tick: fails if the guest must stop.
    pub(crate) fn tick(&self, interrupt: &Interrupt) -> wasmtime::Result<UpdateDeadline> {
        interrupt.check()?;
        if self.used() >= self.limit {
            return Err(CpuSpent.into());
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

/// The reason why a guest's code did not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The guest exited with this code.
    Exited(i32),
    TimedOut,
    Cancelled,
    Stopped(LimitName),
    /// The guest crashed (abort, unreachable, out-of-bounds), with the reason.
    Crashed(String),
}

impl Broken {
    /// Classifies the error of a call into a guest.
    pub fn explain(error: &wasmtime::Error) -> Self {
        if let Some(Exit(code)) = error.downcast_ref() {
            return Self::Exited(*code);
        }
        if let Some(Stop(limit)) = error.downcast_ref() {
            return Self::Stopped(*limit);
        }
        if let Some(interrupted) = error.downcast_ref() {
            return match interrupted {
                Interrupted::Deadline => Self::TimedOut,
                Interrupted::Cancelled => Self::Cancelled,
            };
        }
        if error.is::<CpuSpent>() {
            return Self::Stopped(LimitName::CpuMs);
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::Stopped(LimitName::Stack),
            Some(trap) => Self::Crashed(trap.to_string()),
            None => Self::Crashed(format!("{error:#}")),
        }
    }
}
