//! One call: a fresh instance runs one function. Nothing of it remains afterwards, except in the tool's own folder.
//! Runs on a thread that may block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cofferdam_contract::tool::MAX_RESULT_BYTES;
use cofferdam_contract::{LimitName, Limits, Problem, RunError, Status, ToolCall, ToolOutcome, Usage};
use cofferdam_host_api::{Base, GatewayHandle, Interrupt, Sandbox, Vfs};
use serde_json::value::RawValue;
use wasmtime::component::Val;
use wasmtime::{Store, WasmBacktrace};

use super::components::{Function, Loaded};
use super::folder::{Folder, FolderError};
use super::logs::Logs;
use super::memory::{Memory, Share};
use super::state::{Limiter, ToolState};
use crate::bounds::{Broken, CpuClock};
use crate::engine::running;
use crate::error::Error;
use crate::tool::{ResultError, Returned};

/// The engine's message if too much crosses the boundary at once. It has no error type for that.
const TOO_MUCH_AT_ONCE: &str = "fuel allocated for hostcalls has been exhausted";
/// Host memory for passing values to the host at once, in bytes: enough for the longest text result. Every call has
/// this much.
const PLAIN_BYTES: usize = 16 << 20;
/// The same for functions that return lists. An element takes 40 bytes, so this suffices for a `list<u8>` of 6 MiB,
/// which is 8 MiB of base64. Once memory is short, further calls get [`PLAIN_BYTES`].
const LIST_BYTES: usize = 256 << 20;
/// The longest error message of a tool to pass on, in characters.
const MAX_MESSAGE_CHARS: usize = 16 << 10;

/// A call with its dependencies.
pub(super) struct Job {
    pub(super) call: ToolCall,
    pub(super) interrupt: Interrupt,
    pub(super) gateway: Option<GatewayHandle>,
    pub(super) vfs: Vfs,
    /// The base of the tool's own folder.
    pub(super) base: Arc<Base>,
    pub(super) open_files: u64,
    pub(super) memory: Arc<Memory>,
}

/// The end of a call, before it is reported.
struct Ended {
    status: Status,
    result: Option<Box<RawValue>>,
    error: Option<RunError>,
}

/// The remains of a call, which take a while to tear down. Dropped once the answer is sent.
pub(super) type Leftover = Store<ToolState>;

/// Makes the call.
///
/// # Errors
/// The caller's fault: no such function, or arguments that do not fit. Or the call could not start: no memory, or the
/// tool's folder could not be fetched. The tool's own failures are outcomes.
pub(super) fn run(loaded: &Loaded, job: Job) -> Result<(ToolOutcome, Leftover), Error> {
    let Job { call, interrupt, gateway, vfs, base, open_files, memory } = job;
    let function = call.export.as_ref().map(|path| loaded.function(path)).transpose()?;
    let share = memory.share(PLAIN_BYTES.saturating_add(loaded.instance_bytes)).ok_or_else(crowded)?;
    let arguments = match &function {
        Some(function) => arguments(function, &call.arguments, &share)?,
        None => Vec::new(),
    };
    let _running = running();
    let started = Instant::now();
    let logs = Logs::new(call.limits.output_bytes);
    let clock = CpuClock::start(Duration::from_millis(call.limits.cpu_ms));
    let mut sandbox = Sandbox::new(vfs);
    let mut folder = None;
    if let Some(grant) = call.grants.files {
        let fetched = Folder::fetch(&base, (grant, open_files), gateway.as_ref(), &interrupt, &share);
        let (vfs, own) = fetched.map_err(no_folder)?;
        sandbox.set_folder(vfs);
        folder = Some(own);
    }
    sandbox.set_interrupt(interrupt.clone());
    sandbox.set_env(call.env.into_iter().collect::<Vec<_>>());
    sandbox.set_args([call.tool]);
    sandbox.set_config(Arc::new(call.grants.config));
    sandbox.set_output(Box::new(logs.clone()));
    if let Some(gateway) = gateway {
        sandbox.set_gateway(gateway);
    }
    let ample = function.as_ref().is_some_and(|f| f.lists) && share.grow_amply(LIST_BYTES);
    let limiter = Limiter::new(call.limits.memory_bytes, share.clone());
    let mut store = Store::new(loaded.component.engine(), ToolState { sandbox, limiter, clock });
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(if ample { LIST_BYTES } else { PLAIN_BYTES });
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        let state = context.data();
        state.clock.tick(state.sandbox.interrupt())
    });
    let mut entered = false;
    let returned = enter(loaded, &mut store, function.as_deref(), &arguments, &mut entered);
    drop(arguments);
    let state = store.data();
    if returned.is_err() && !entered && state.limiter.full {
        return Err(crowded().into());
    }
    let mut ended = match (returned, &function) {
        (Ok(value), Some(function)) => {
            ended_well(function.signature.returned(value.as_ref(), MAX_RESULT_BYTES), &call.limits)
        }
        (Ok(_), None) => Ended { status: Status::Ok, result: None, error: None },
        (Err(error), _) => broken(&error, state, &call.limits),
    };
    // Only successful calls keep their changes.
    if ended.status == Status::Ok
        && let (Some(folder), Some(vfs)) = (folder, state.sandbox.folder())
        && let Err(error) = folder.keep(vfs, &interrupt, &share)
    {
        ended = not_kept(error, state, &call.limits);
    }
    let usage = Usage {
        wall_ms: started.elapsed(),
        cpu_ms: state.clock.used(),
        memory_peak_bytes: state.limiter.peak() as u64,
    };
    let Ended { status, result, error } = ended;
    Ok((ToolOutcome { id: call.id, status, result, error, logs: logs.take(), usage }, store))
}

fn crowded() -> Problem {
    Problem::overloaded("The worker's memory for all calls of tools is used up; try again in a second.")
}

/// The arguments as values, counted as they are read.
fn arguments(function: &Function, json: &RawValue, share: &Share) -> Result<Vec<Val>, Error> {
    let (room, refused) = (share.clone(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&refused);
    let room = move |bytes| {
        let taken = room.grow(bytes);
        told.store(!taken, Ordering::Relaxed);
        taken
    };
    function.signature.arguments_within(json, Box::new(room)).map_err(|error| {
        let problem = if refused.load(Ordering::Relaxed) { crowded() } else { Problem::invalid(error.to_string()) };
        problem.into()
    })
}

/// Nothing has run yet, so another worker may try, or this one later.
fn no_folder(error: FolderError) -> Error {
    match error {
        // The caller cannot fix an expired token.
        FolderError::Refused(problem) if problem.status != 401 => problem.into(),
        FolderError::Memory => crowded().into(),
        FolderError::Archive(error) => {
            Problem::internal(format!("The tool's folder cannot be read ({error}); delete the tool to remove it."))
                .into()
        }
        error => Problem::unavailable(format!("The tool's folder could not be fetched: {error}.")).into(),
    }
}

/// The tool succeeded, but its changes are lost.
fn not_kept(error: FolderError, state: &ToolState, limits: &Limits) -> Ended {
    match error {
        FolderError::Interrupted(why) => broken(&why.into(), state, limits),
        FolderError::Refused(problem) if problem.kind() == "conflict" => {
            raised("conflict", problem.detail, String::new())
        }
        FolderError::Memory => limit(LimitName::HostMemory, limits, ": there was no room to keep the tool's folder"),
        error => raised("files", format!("the tool's folder could not be kept: {error}"), String::new()),
    }
}

/// Instantiates the component and calls the function, if there is one.
fn enter(
    loaded: &Loaded,
    store: &mut Store<ToolState>,
    function: Option<&Function>,
    arguments: &[Val],
    entered: &mut bool,
) -> wasmtime::Result<Option<Val>> {
    let instance = loaded.pre.instantiate(&mut *store)?;
    *entered = true;
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
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
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
                message: "the caller disconnected or cancelled".to_owned(),
                traceback: String::new(),
            }),
        },
        // Whatever it did afterwards, it had run out of memory.
        Broken::Exited(_) | Broken::Crashed(_) if state.limiter.denied => limit(LimitName::MemoryBytes, limits, ""),
        Broken::Exited(_) | Broken::Crashed(_) if state.limiter.full => {
            limit(LimitName::HostMemory, limits, ": the worker's memory for all calls was used up")
        }
        Broken::Exited(code) => {
            let message = format!("the tool ended itself with exit code {code} before it returned");
            raised("ToolExit", message, String::new())
        }
        Broken::Crashed(reason) if reason.contains(TOO_MUCH_AT_ONCE) => {
            limit(LimitName::HostMemory, limits, ": too much was passed between the tool and the host at once")
        }
        Broken::Crashed(reason) => {
            let sandbox = &state.sandbox;
            match (sandbox.vfs().exceeded(), sandbox.folder().and_then(Vfs::exceeded)) {
                (Some(which), _) => limit(which, limits, ""),
                (None, Some(which)) => {
                    let message = format!("stopped by the limit {which} of the tool's own folder (grants.files)");
                    limited(which, message)
                }
                (None, None) => raised("Trap", shortened(&reason), traceback.unwrap_or_default()),
            }
        }
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
    limited(which, format!("stopped by the limit {which}{bound}{more}"))
}

fn limited(which: LimitName, message: String) -> Ended {
    let status = if which == LimitName::WallMs { Status::Timeout } else { Status::Limit };
    let error = RunError { name: which.as_str().to_owned(), message, traceback: String::new() };
    Ended { status, result: None, error: Some(error) }
}
