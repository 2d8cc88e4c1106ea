//! The one place where an engine is made.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel};

use crate::memory::SlotCreator;

/// Address space for one kernel's memory: all that 32 bits can reach, so that bounds checks are elided.
pub const RESERVATION: usize = 4 << 30;
/// Unmapped bytes after it.
pub const GUARD: usize = 32 << 20;
/// The call stack of a guest. Interpreters are told to stop well before it.
pub const GUEST_STACK: usize = 8 << 20;
/// How often a running guest is looked at: the grain of its time limits.
pub const TICK: Duration = Duration::from_millis(2);

/// The engine for kernels: no pooling, memories from images, interruptible by epochs.
pub fn kernel_engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_exceptions(true)
        .wasm_function_references(true)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Guests run on threads of their own; the engine only insists that a fiber's stack would be larger.
        .async_stack_size(GUEST_STACK + (1 << 20))
        .max_wasm_stack(GUEST_STACK)
        .memory_reservation(RESERVATION as u64)
        .memory_guard_size(GUARD as u64)
        .memory_may_move(false)
        .guard_before_linear_memory(false)
        // Exceptions live in a heap of their own. It is small, and what is in it does not survive a turn.
        .gc_heap_reservation(1 << 20)
        .gc_heap_guard_size(0)
        .gc_heap_may_move(true)
        .with_host_memory(Arc::new(SlotCreator))
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None);
    Engine::new(&config)
}

/// Starts the clock that running guests are measured by. It ends with the engine.
pub fn start_ticker(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    })?;
    Ok(())
}
