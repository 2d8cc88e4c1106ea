//! The only place that creates engines.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel};

use crate::memory::SlotCreator;

/// Address space for one kernel's memory: everything that 32 bits can address, so that bounds checks are elided.
pub const RESERVATION: usize = 4 << 30;
/// Unmapped bytes after the reservation.
pub const GUARD: usize = 32 << 20;
/// The call stack of a guest. Interpreters are configured to stop well before its end.
pub const GUEST_STACK: usize = 8 << 20;
/// The call stack of a tool.
pub const TOOL_STACK: usize = 2 << 20;
/// The most frames in a trap's backtrace, for the tool's author.
const TOOL_FRAMES: Option<NonZeroUsize> = NonZeroUsize::new(16);
/// The interval at which running guests are checked: the resolution of their time limits.
pub const TICK: Duration = Duration::from_millis(2);
/// Idle ticks after which the ticker pauses.
const IDLE_TICKS: u32 = 50;

/// Settings of both engines: interruptible by epochs, bounds checks elided, small exception heaps.
fn common(stack: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_exceptions(true)
        .wasm_function_references(true)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Guests run on ordinary threads, but the engine requires a fiber stack larger than the guest's.
        .async_stack_size(stack + (1 << 20))
        .max_wasm_stack(stack)
        .memory_reservation(RESERVATION as u64)
        .memory_guard_size(GUARD as u64)
        .memory_may_move(false)
        .guard_before_linear_memory(false)
        // Exceptions have a heap of their own. It is small, and its contents do not survive a turn.
        .gc_heap_reservation(1 << 20)
        .gc_heap_guard_size(0)
        .gc_heap_may_move(true)
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}

/// The engine for kernels: no pooling, memories from images.
pub fn kernel_engine() -> wasmtime::Result<Engine> {
    let mut config = common(GUEST_STACK);
    config.with_host_memory(Arc::new(SlotCreator)).wasm_backtrace_max_frames(None);
    Engine::new(&config)
}

/// The engine for tools. Each call gets a new mapping, initialized copy-on-write from the component's file. No mapping
/// is ever reused, not even for the same organization.
pub fn tool_engine() -> wasmtime::Result<Engine> {
    let mut config = common(TOOL_STACK);
    config.wasm_gc(true).wasm_memory64(false).memory_init_cow(true).wasm_backtrace_max_frames(TOOL_FRAMES);
    Engine::new(&config)
}

/// The epoch clock of running guests. It pauses while nothing runs.
pub struct Ticker {
    running: AtomicUsize,
    thread: OnceLock<Thread>,
}

/// Marks a guest as running for the ticker.
pub struct Running(&'static Ticker);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

static TICKER: Ticker = Ticker { running: AtomicUsize::new(0), thread: OnceLock::new() };

/// Marks a guest as running until the result is dropped.
pub fn running() -> Running {
    if TICKER.running.fetch_add(1, Ordering::AcqRel) == 0
        && let Some(thread) = TICKER.thread.get()
    {
        thread.unpark();
    }
    Running(&TICKER)
}

/// Starts the ticker of the process's engine, which also calls `each`. It ends with the engine.
pub fn start_ticker(engine: &Engine, each: fn()) -> std::io::Result<()> {
    let engine = engine.weak();
    let ticker = thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        let mut idle = 0;
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            each();
            idle = if TICKER.running.load(Ordering::Acquire) == 0 { idle + 1 } else { 0 };
            if idle < IDLE_TICKS {
                thread::sleep(TICK);
            } else {
                thread::park_timeout(Duration::from_secs(1));
            }
        }
    })?;
    let _ = TICKER.thread.set(ticker.thread().clone());
    Ok(())
}
