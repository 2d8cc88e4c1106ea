//! One instance of a kernel: a store, its memory slot, and its turns.
//!
//! A guest starts fresh from an image and lives as long as its session or its single run. It never outlives a trap:
//! after one, only the slot is left, and it is not reused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::LimitName;
use cofferdam_host_api::{Interrupt, Sandbox, SandboxView};
use wasmtime::component::Func;
use wasmtime::{ResourceLimiter, Store};

pub use crate::bounds::thread_cpu_time;
use crate::bounds::{Broken, CpuClock, HOSTCALL_BYTES};
use crate::engine::running;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::memory::{Leftover, Slot, SlotHandle, with_pending};

/// The most elements of all tables together. Kernels' tables never grow, so this only bounds a broken one.
const TABLE_ELEMENTS: usize = 1 << 20;
/// The heap of exception objects, in bytes.
const EXCEPTIONS_BYTES: usize = 1 << 20;

/// A store's data: the state of its guest.
pub struct State {
    pub sandbox: Sandbox,
    limiter: Limiter,
    clock: CpuClock,
}

impl State {
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, limiter: Limiter::default(), clock: CpuClock::default() }
    }
}

impl SandboxView for State {
    fn sandbox(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}

/// Bounds linear memory, and remembers whether it denied growth.
#[derive(Debug)]
struct Limiter {
    memory_bytes: usize,
    denied: bool,
    peak: usize,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { memory_bytes: usize::MAX, denied: false, peak: 0 }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if current < EXCEPTIONS_BYTES && desired <= EXCEPTIONS_BYTES {
            return Ok(true);
        }
        let granted = desired <= self.memory_bytes;
        if granted {
            self.peak = self.peak.max(desired);
        } else {
            self.denied = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// The bounds of one turn.
pub struct Bounds {
    pub interrupt: Interrupt,
    pub cpu: Duration,
    pub memory_bytes: u64,
}

/// The end of a turn.
#[derive(Debug)]
pub enum TurnEnd {
    /// The kernel returned this status. The guest is sound.
    Returned(i32),
    /// The guest exited with this code.
    Exited(i32),
    TimedOut,
    Cancelled,
    Stopped(LimitName),
    /// The interpreter crashed (abort, unreachable, out-of-bounds). The reason is for the log and the caller.
    Crashed(String),
}

impl From<Broken> for TurnEnd {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Exited(code) => Self::Exited(code),
            Broken::TimedOut => Self::TimedOut,
            Broken::Cancelled => Self::Cancelled,
            Broken::Stopped(limit) => Self::Stopped(limit),
            Broken::Crashed(reason) => Self::Crashed(reason),
        }
    }
}

/// The resources that a turn used.
#[derive(Debug, Clone, Copy, Default)]
pub struct TurnUsage {
    pub wall: Duration,
    pub cpu: Duration,
    pub memory_peak: usize,
    /// True if the memory limit denied growth.
    pub memory_denied: bool,
}

/// An instance of a kernel.
pub struct Guest {
    store: Store<State>,
    turn: Func,
    slot: SlotHandle,
    leftover: Leftover,
}

impl Guest {
    /// Instantiates the kernel over a slot.
    pub fn birth(kernel: &Kernel, slot: Slot, state: State) -> Result<Self, Error> {
        let slot = Arc::new(slot);
        let mut store = Store::new(kernel.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let state = context.data();
            state.clock.tick(state.sandbox.interrupt())
        });
        store.data_mut().clock = CpuClock::start(Duration::from_secs(10));
        let instance = with_pending(kernel.memory_pages(), Arc::clone(&slot), || kernel.pre().instantiate(&mut store));
        let instance = instance.map_err(Error::Sandbox)?;
        let turn = instance.get_func(&mut store, kernel.turn_export());
        let turn = turn.ok_or_else(|| Error::Sandbox(wasmtime::Error::msg("the kernel has no `turn`")))?;
        Ok(Self { store, turn, slot, leftover: Leftover::Clean })
    }

    pub fn sandbox(&mut self) -> &mut Sandbox {
        &mut self.store.data_mut().sandbox
    }

    /// Runs one text on this thread, within bounds.
    pub fn turn(&mut self, text: &str, bounds: Bounds) -> (TurnEnd, TurnUsage) {
        let _running = running();
        let wall = Instant::now();
        let state = self.store.data_mut();
        state.sandbox.set_interrupt(bounds.interrupt);
        state.clock = CpuClock::start(bounds.cpu);
        state.limiter = Limiter {
            memory_bytes: usize::try_from(bounds.memory_bytes).unwrap_or(usize::MAX),
            denied: false,
            peak: self.slot.size(),
        };
        self.store.set_epoch_deadline(1);
        let result = self.call(text);
        let State { limiter, clock, .. } = self.store.data();
        let usage = TurnUsage {
            wall: wall.elapsed(),
            cpu: clock.used(),
            memory_peak: limiter.peak,
            memory_denied: limiter.denied,
        };
        let end = match result {
            Ok(status) => TurnEnd::Returned(status),
            Err(error) => {
                let end = TurnEnd::from(Broken::explain(&error));
                // After the other ends the memory is only incomplete; after a crash nothing about it is known.
                if matches!(end, TurnEnd::Crashed(_)) {
                    self.leftover = Leftover::Spoiled;
                }
                end
            }
        };
        (end, usage)
    }

    fn call(&mut self, text: &str) -> wasmtime::Result<i32> {
        let turn = self.turn.typed::<(&str,), (i32,)>(&self.store)?;
        let (status,) = turn.call(&mut self.store, (text,))?;
        Ok(status)
    }

    /// The memory's slot, to read it at rest.
    pub fn slot(&self) -> &SlotHandle {
        &self.slot
    }

    /// The slot and the store. Exclusive access to the store proves that the memory is at rest.
    pub fn at_rest(&mut self) -> (&SlotHandle, &mut Store<State>) {
        (&self.slot, &mut self.store)
    }

    /// Ends the instance and returns its slot, if that may be reused, and its host state.
    pub fn end(self) -> (Option<Slot>, State) {
        let Self { store, slot, leftover, .. } = self;
        let state = store.into_data();
        let slot = Arc::into_inner(slot).filter(|_| leftover == Leftover::Clean);
        (slot, state)
    }
}
