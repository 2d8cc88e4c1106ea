//! One call: a fresh instance, one function, everything of it gone afterwards. On a thread that may block.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::tool::MAX_RESULT_BYTES;
use cofferdam_contract::{LimitName, Limits, Problem, RunError, Status, ToolCall, ToolOutcome, Usage};
use cofferdam_host_api::{GatewayHandle, Interrupt, Sandbox, Vfs};
use serde_json::value::RawValue;
use wasmtime::component::Val;
use wasmtime::{Store, WasmBacktrace};

use super::components::{Function, Loaded};
use super::logs::Logs;
use super::state::{Limiter, ToolState};
use crate::bounds::{Broken, CpuClock, HOSTCALL_BYTES};
use crate::engine::running;
use crate::error::Error;
use crate::tool::{ResultError, Returned};

/// What the engine says when more crosses the boundary at once than it may; it has no type for it.
const TOO_MUCH_AT_ONCE: &str = "fuel allocated for hostcalls has been exhausted";
/// The longest error message of a tool's that is passed on, in characters.
const MESSAGE: usize = 16 << 10;

/// A call and what it is made with.
pub(super) struct Job {
    pub(super) call: ToolCall,
    pub(super) interrupt: Interrupt,
    pub(super) gateway: Option<GatewayHandle>,
    pub(super) vfs: Vfs,
}

/// How it ended, before anybody is told.
struct Ended {
    status: Status,
    result: Option<Box<RawValue>>,
    error: Option<RunError>,
}

/// What is left of a call: a while's work to take down, once the answer is on its way.
pub(super) type Leftover = Store<ToolState>;

/// Makes the call.
///
/// # Errors
/// What the caller did wrong: no such function, arguments that do not fit. What the tool does wrong is an outcome.
pub(super) fn run(loaded: &Loaded, job: Job) -> Result<(ToolOutcome, Leftover), Error> {
    let Job { call, interrupt, gateway, vfs } = job;
    let function = call.export.as_ref().map(|path| loaded.function(path)).transpose()?;
    let arguments = match &function {
        Some(function) => function.signature.arguments(&call.arguments).map_err(|e| Problem::invalid(e.to_string()))?,
        None => Vec::new(),
    };
    let _running = running();
    let started = Instant::now();
    let logs = Logs::new(call.limits.output_bytes);
    let mut sandbox = Sandbox::new(vfs);
    sandbox.set_interrupt(interrupt);
    sandbox.set_env(call.env.into_iter().collect::<Vec<_>>());
    sandbox.set_args([call.tool]);
    sandbox.set_config(Arc::new(call.grants.config));
    sandbox.set_output(Box::new(logs.clone()));
    if let Some(gateway) = gateway {
        sandbox.set_gateway(gateway);
    }
    let clock = CpuClock::start(Duration::from_millis(call.limits.cpu_ms));
    let limiter = Limiter::new(call.limits.memory_bytes);
    let mut store = Store::new(loaded.component.engine(), ToolState { sandbox, limiter, clock });
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        let state = context.data();
        state.clock.tick(state.sandbox.interrupt())
    });
    let returned = enter(loaded, &mut store, function.as_deref(), &arguments);
    drop(arguments);
    let state = store.data();
    let ended = match (returned, &function) {
        (Ok(value), Some(function)) => {
            ended_well(function.signature.returned(value.as_ref(), MAX_RESULT_BYTES), &call.limits)
        }
        (Ok(_), None) => Ended { status: Status::Ok, result: None, error: None },
        (Err(error), _) => broken(&error, state, &call.limits),
    };
    let usage = Usage {
        wall_ms: started.elapsed(),
        cpu_ms: state.clock.used(),
        memory_peak_bytes: state.limiter.peak() as u64,
    };
    let Ended { status, result, error } = ended;
    Ok((ToolOutcome { id: call.id, status, result, error, logs: logs.take(), usage }, store))
}

/// Instantiates, and calls the function if there is one.
fn enter(
    loaded: &Loaded,
    store: &mut Store<ToolState>,
    function: Option<&Function>,
    arguments: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let instance = loaded.pre.instantiate(&mut *store)?;
    let Some(function) = function else { return Ok(None) };
    let callee = instance.get_func(&mut *store, function.index);
    let callee = callee.ok_or_else(|| wasmtime::Error::msg("the instance lacks the function"))?;
    let mut results = vec![Val::Bool(false); function.results];
    callee.call(&mut *store, arguments, &mut results)?;
    Ok(results.into_iter().next())
}

fn ended_well(returned: Result<Returned, ResultError>, limits: &Limits) -> Ended {
    match returned {
        Ok(Returned::Value(value)) => Ended { status: Status::Ok, result: Some(value), error: None },
        Ok(Returned::Error(message)) => raised("ToolError", shortened(&message), String::new()),
        Err(error) => limit(LimitName::OutputBytes, limits, &format!(": {error}")),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn raised(name: &str, message: String, traceback: String) -> Ended {
    Ended { status: Status::Error, result: None, error: Some(RunError { name: name.to_owned(), message, traceback }) }
}

fn broken(error: &wasmtime::Error, state: &ToolState, limits: &Limits) -> Ended {
    let traceback = error.downcast_ref::<WasmBacktrace>().map(|frames| shortened(&frames.to_string()));
    match Broken::explain(error) {
        Broken::TimedOut => limit(LimitName::WallMs, limits, ""),
        Broken::Stopped(which) => limit(which, limits, ""),
        Broken::Cancelled => Ended {
            status: Status::Cancelled,
            result: None,
            error: Some(RunError {
                name: "cancelled".to_owned(),
                message: "the caller went away or asked to stop".to_owned(),
                traceback: String::new(),
            }),
        },
        // Whatever it did then, it was out of something.
        Broken::Exited(_) | Broken::Crashed(_) if state.limiter.denied => limit(LimitName::MemoryBytes, limits, ""),
        Broken::Exited(code) => {
            let message = format!("the tool ended itself with exit code {code} before it returned");
            raised("ToolExit", message, String::new())
        }
        Broken::Crashed(reason) if reason.contains(TOO_MUCH_AT_ONCE) => {
            limit(LimitName::HostMemory, limits, ": too much was passed between the tool and the host at once")
        }
        Broken::Crashed(reason) => match state.sandbox.vfs().exceeded() {
            Some(which) => limit(which, limits, ""),
            None => raised("Trap", shortened(&reason), traceback.unwrap_or_default()),
        },
    }
}

fn limit(which: LimitName, limits: &Limits, more: &str) -> Ended {
    let bound = match which {
        LimitName::WallMs => format!(" ({} ms)", limits.wall_ms),
        LimitName::CpuMs => format!(" ({} ms)", limits.cpu_ms),
        LimitName::MemoryBytes => format!(" ({} bytes)", limits.memory_bytes),
        LimitName::DiskBytes => format!(" ({} bytes)", limits.disk_bytes),
        LimitName::Files => format!(" ({})", limits.files),
        LimitName::OutputBytes | LimitName::OpenFiles | LimitName::Stack | LimitName::HostMemory => String::new(),
    };
    let status = if which == LimitName::WallMs { Status::Timeout } else { Status::Limit };
    let message = format!("stopped by the limit {which}{bound}{more}");
    let error = RunError { name: which.as_str().to_owned(), message, traceback: String::new() };
    Ended { status, result: None, error: Some(error) }
}
