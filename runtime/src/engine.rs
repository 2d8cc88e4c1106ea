//! The one place where an engine is made.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel};

use crate::memory::SlotCreator;

/// Address space for one kernel's memory: all that 32 bits can reach, so that bounds checks are elided.
pub const RESERVATION: usize = 4 << 30;
/// Unmapped bytes after it.
pub const GUARD: usize = 32 << 20;
/// The call stack of a guest. Interpreters are told to stop well before it.
pub const GUEST_STACK: usize = 8 << 20;
/// The call stack of a tool.
pub const TOOL_STACK: usize = 2 << 20;
/// Frames of a trap's backtrace, for the tool's author.
const TOOL_FRAMES: Option<NonZeroUsize> = NonZeroUsize::new(16);
/// How often a running guest is looked at: the grain of its time limits.
pub const TICK: Duration = Duration::from_millis(2);
/// Ticks without anything running until the ticker rests.
const IDLE_TICKS: u32 = 50;

/// What both engines have: interruptible by epochs, bounds checks elided, small exception heaps.
fn common(stack: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_exceptions(true)
        .wasm_function_references(true)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Guests run on threads of their own; the engine only insists that a fiber's stack would be larger.
        .async_stack_size(stack + (1 << 20))
        .max_wasm_stack(stack)
        .memory_reservation(RESERVATION as u64)
        .memory_guard_size(GUARD as u64)
        .memory_may_move(false)
        .guard_before_linear_memory(false)
        // Exceptions live in a heap of their own. It is small, and what is in it does not survive a turn.
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

/// The engine for tools: each call in a new mapping whose first contents are the component's file, copied on write.
/// Nothing of a mapping is used again, by the same organization or another.
pub fn tool_engine() -> wasmtime::Result<Engine> {
    let mut config = common(TOOL_STACK);
    config.wasm_gc(true).wasm_memory64(false).memory_init_cow(true).wasm_backtrace_max_frames(TOOL_FRAMES);
    Engine::new(&config)
}

/// The clock that running guests are measured by. It stands still while nothing runs.
pub struct Ticker {
    running: AtomicUsize,
    thread: OnceLock<Thread>,
}

/// A guest that runs, for the ticker.
pub struct Running(&'static Ticker);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

static TICKER: Ticker = Ticker { running: AtomicUsize::new(0), thread: OnceLock::new() };

/// Says that a guest runs until the answer is dropped.
pub fn running() -> Running {
    if TICKER.running.fetch_add(1, Ordering::AcqRel) == 0
        && let Some(thread) = TICKER.thread.get()
    {
        thread.unpark();
    }
    Running(&TICKER)
}

/// Starts the ticker of the process's one engine, which also calls `each`. It ends with the engine.
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
