//! What ends a guest's code from outside: the deadline, cancellation, its CPU time, limits; and how such an end is told
//! apart from a failure of its own. Never decides what the bounds are.

use std::time::Duration;

use cofferdam_contract::LimitName;
use cofferdam_host_api::{Exit, Interrupt, Interrupted, Stop};
use wasmtime::{Trap, UpdateDeadline};

/// Host memory that one call across the boundary may take, in bytes: a guest cannot hand over more than this at once.
pub const HOSTCALL_BYTES: usize = 64 << 20;

/// CPU time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// CPU time of the thread that a guest runs on, against its limit.
#[derive(Debug, Default)]
pub struct CpuClock {
    start: Duration,
    limit: Duration,
}

/// CPU time ran out; a trap in the guest.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the CPU time limit was reached")]
struct CpuSpent;

impl CpuClock {
    /// From now on this thread, until `limit` more is used.
    pub fn start(limit: Duration) -> Self {
        Self { start: thread_cpu_time(), limit }
    }

    /// What was used since the start.
    pub fn used(&self) -> Duration {
        thread_cpu_time().saturating_sub(self.start)
    }

    /// What each tick of the epoch asks: may the guest go on?
    pub fn tick(&self, interrupt: &Interrupt) -> wasmtime::Result<UpdateDeadline> {
        interrupt.check()?;
        if self.used() >= self.limit {
            return Err(CpuSpent.into());
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

/// Why a guest's code did not come back by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The guest ended its instance with this exit code.
    Exited(i32),
    TimedOut,
    Cancelled,
    Stopped(LimitName),
    /// It broke down (abort, unreachable, out-of-bounds): the reason.
    Crashed(String),
}

impl Broken {
    /// Reads the error that a call into a guest ended with.
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
