//! The host's side of one sandbox: files, streams, clocks and the resource table.
//!
//! Knows nothing of engines, stores or slots. The runtime keeps one of these in each store.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cofferdam_contract::LimitName;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

use crate::{
    door::Door,
    gateway::GatewayHandle,
    hold::Held,
    interrupt::Interrupt,
    stdio::{Output, OutputSink, Stdin},
    vfs::Vfs,
};

/// The most handles that a guest may hold: descriptors, streams, pollables and all other resources.
pub(crate) const MAX_RESOURCES: usize = 1_024;

/// A limit ended the run. A trap in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped by the limit {}", .0.as_str())]
pub struct Stop(pub LimitName);

/// The guest exited with this code. A trap, but not a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest exited with code {0}")]
pub struct Exit(pub i32);

/// Gives host functions access to the sandbox in a store's data.
pub trait SandboxView: Send {
    fn sandbox(&mut self) -> &mut Sandbox;
}

impl SandboxView for Sandbox {
    fn sandbox(&mut self) -> &mut Sandbox {
        self
    }
}

/// Replaces randomness and the clock while an image is made.
#[derive(Default)]
struct Reproducible {
    random: u64,
    /// Milliseconds. Advances by one at every read, so that code that waits for the clock makes progress.
    clock: AtomicU64,
}

pub struct Sandbox {
    pub(crate) table: ResourceTable,
    pub(crate) vfs: Vfs,
    /// The persistent folder, if the tool has one.
    pub(crate) folder: Option<Vfs>,
    pub(crate) stdin: Arc<Stdin>,
    pub(crate) output: Arc<Output>,
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) args: Arc<[String]>,
    pub(crate) interrupt: Interrupt,
    pub(crate) door: Option<Box<dyn Door>>,
    pub(crate) gateway: Option<GatewayHandle>,
    pub(crate) config: Arc<BTreeMap<String, String>>,
    pub(crate) held: Held,
    /// The number of HTTP requests in flight.
    pub(crate) requests: Arc<AtomicUsize>,
    born: Instant,
    uptime: Duration,
    reproducible: Option<Reproducible>,
}

impl Sandbox {
    /// A sandbox without environment, arguments, stdin, output, door, gateway or deadline.
    pub fn new(vfs: Vfs) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            table,
            vfs,
            folder: None,
            stdin: Arc::default(),
            output: Arc::default(),
            env: Arc::default(),
            args: Arc::default(),
            interrupt: Interrupt::default(),
            door: None,
            gateway: None,
            config: Arc::default(),
            held: Held::default(),
            requests: Arc::default(),
            born: Instant::now(),
            uptime: Duration::ZERO,
            reproducible: None,
        }
    }

    /// Makes random bytes and the monotonic clock deterministic: the same bytes in every process, and a clock that
    /// advances by reads. For making reproducible images, never for user code.
    pub fn set_reproducible(&mut self) {
        self.reproducible = Some(Reproducible::default());
    }

    /// Random bytes from the operating system, or reproducible ones (SplitMix64, Steele et al. 2014).
    pub(crate) fn random(&mut self, bytes: &mut [u8]) -> wasmtime::Result<()> {
        let Some(Reproducible { random: state, .. }) = &mut self.reproducible else {
            return Ok(getrandom::fill(bytes)?);
        };
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^= word >> 31;
            for (byte, value) in chunk.iter_mut().zip(word.to_le_bytes()) {
                *byte = value;
            }
        }
        Ok(())
    }

    pub fn vfs(&self) -> &Vfs {
        &self.vfs
    }

    /// Mounts another file system's `/home/user` at `/data`. Call it before the guest starts.
    pub fn set_folder(&mut self, folder: Vfs) {
        self.folder = Some(folder);
    }

    pub fn folder(&self) -> Option<&Vfs> {
        self.folder.as_ref()
    }

    /// For host functions of other modules with resources of their own (HTTP).
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The deadline and the cancel handle of the next run.
    pub fn set_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupt = interrupt;
    }

    /// The guest's stdin from now on.
    pub fn set_stdin(&mut self, bytes: Bytes) {
        self.stdin.set(bytes);
    }

    /// The destination of stdout and stderr from now on, including streams that the guest has already opened.
    pub fn set_output(&mut self, sink: Box<dyn OutputSink>) {
        self.output.set(Some(sink));
    }

    /// Takes the sink back. Output is discarded afterwards.
    pub fn take_output(&mut self) -> Option<Box<dyn OutputSink>> {
        self.output.set(None)
    }

    /// The guest's environment. Most guests read it once, when they start.
    pub fn set_env(&mut self, env: impl Into<Arc<[(String, String)]>>) {
        self.env = env.into();
    }

    /// The arguments, starting with the program's name.
    pub fn set_args(&mut self, args: impl Into<Arc<[String]>>) {
        self.args = args.into();
    }

    pub fn set_door(&mut self, door: Box<dyn Door>) {
        self.door = Some(door);
    }

    pub fn take_door(&mut self) -> Option<Box<dyn Door>> {
        self.door.take()
    }

    /// The gateway for the next run.
    pub fn set_gateway(&mut self, gateway: GatewayHandle) {
        self.gateway = Some(gateway);
    }

    pub fn gateway(&self) -> Option<&GatewayHandle> {
        self.gateway.as_ref()
    }

    /// The values that the guest reads through `wasi:config`.
    pub fn set_config(&mut self, config: impl Into<Arc<BTreeMap<String, String>>>) {
        self.config = config.into();
    }

    /// The monotonic clock, to the microsecond: time since the sandbox was created, plus the value of
    /// [`Self::set_uptime`].
    pub fn uptime(&self) -> Duration {
        let since = match &self.reproducible {
            Some(Reproducible { clock, .. }) => Duration::from_millis(clock.fetch_add(1, Ordering::Relaxed)),
            None => self.born.elapsed(),
        };
        let uptime = self.uptime.saturating_add(since);
        Duration::new(uptime.as_secs(), uptime.subsec_micros() * 1_000)
    }

    /// Continues the monotonic clock from here, because the clock of a resumed session must not go back.
    pub fn set_uptime(&mut self, uptime: Duration) {
        self.uptime = uptime;
        self.born = Instant::now();
    }

    /// The host's instant at which the monotonic clock shows `uptime`. `None` if that is out of range.
    pub(crate) fn instant_at(&self, uptime: Duration) -> Option<Instant> {
        match uptime.checked_sub(self.uptime) {
            Some(after) => self.born.checked_add(after),
            None => Some(self.born),
        }
    }

    pub(crate) fn push<T: Send + 'static>(&mut self, resource: T) -> wasmtime::Result<Resource<T>> {
        self.table.push(resource).map_err(table_error)
    }
}

/// A full table is a limit of the run, not a bug in the guest.
pub(crate) fn table_error(error: ResourceTableError) -> wasmtime::Error {
    match error {
        ResourceTableError::Full => Stop(LimitName::HostMemory).into(),
        error => error.into(),
    }
}

/// Like [`table_error`], for an error that another crate has wrapped.
pub(crate) fn full_is_a_limit(error: wasmtime::Error) -> wasmtime::Error {
    match error.downcast::<ResourceTableError>() {
        Ok(error) => table_error(error),
        Err(error) => error,
    }
}
