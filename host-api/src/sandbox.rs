//! Everything one sandbox has on the host's side: its files, streams, clocks, and the table of its resources.
//!
//! Knows nothing of engines, stores or slots; the runtime keeps one of these in each store.

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

/// Descriptors, streams, pollables and what else the guest has handles of, all together.
pub const MAX_RESOURCES: usize = 1_024;

/// A limit that ends the run; a trap in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped by the limit {}", .0.as_str())]
pub struct Stop(pub LimitName);

/// The guest ended itself with this code; a trap that is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest exited with code {0}")]
pub struct Exit(pub i32);

/// Where the host functions find their sandbox in a store's data.
pub trait SandboxView: Send {
    fn sandbox(&mut self) -> &mut Sandbox;
}

impl SandboxView for Sandbox {
    fn sandbox(&mut self) -> &mut Sandbox {
        self
    }
}

/// Stands in for randomness and the clock while an image is made.
#[derive(Default)]
struct Reproducible {
    random: u64,
    /// Milliseconds: one more at every look, so that what waits for the clock gets there.
    clock: AtomicU64,
}

pub struct Sandbox {
    pub(crate) table: ResourceTable,
    pub(crate) vfs: Vfs,
    /// What outlives it, where it has that.
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
    /// HTTP requests under way.
    pub(crate) requests: Arc<AtomicUsize>,
    born: Instant,
    uptime: Duration,
    reproducible: Option<Reproducible>,
}

impl Sandbox {
    /// With no environment, no arguments, an empty stdin, output that goes nowhere, no door, no gateway and no deadline.
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

    /// From here on the guest sees the same random bytes in every process, and a monotonic clock that goes by looks at
    /// it: for making images that are the same everywhere. Never for anything of a user's.
    pub fn set_reproducible(&mut self) {
        self.reproducible = Some(Reproducible::default());
    }

    /// Random bytes: the kernel's, or reproducible ones (SplitMix64, Steele et al. 2014).
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

    /// Gives it a second file system, `/data`: what is in the other's `/home/user`. Before the guest starts.
    pub fn set_folder(&mut self, folder: Vfs) {
        self.folder = Some(folder);
    }

    pub fn folder(&self) -> Option<&Vfs> {
        self.folder.as_ref()
    }

    /// For host functions of other crates that make resources of their own (HTTP).
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The deadline and the cancel handle of the run that comes.
    pub fn set_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupt = interrupt;
    }

    /// What the guest reads from stdin from here on.
    pub fn set_stdin(&mut self, bytes: Bytes) {
        self.stdin.set(bytes);
    }

    /// Where stdout and stderr go from here on, those streams included that the guest has open already.
    pub fn set_output(&mut self, sink: Box<dyn OutputSink>) {
        self.output.set(Some(sink));
    }

    /// Takes the sink back; output goes nowhere afterwards.
    pub fn take_output(&mut self) -> Option<Box<dyn OutputSink>> {
        self.output.set(None)
    }

    /// The environment that the guest reads, as a rule once, at its start.
    pub fn set_env(&mut self, env: impl Into<Arc<[(String, String)]>>) {
        self.env = env.into();
    }

    /// The arguments, the program's name first.
    pub fn set_args(&mut self, args: impl Into<Arc<[String]>>) {
        self.args = args.into();
    }

    pub fn set_door(&mut self, door: Box<dyn Door>) {
        self.door = Some(door);
    }

    pub fn take_door(&mut self) -> Option<Box<dyn Door>> {
        self.door.take()
    }

    /// The way out of the run that comes.
    pub fn set_gateway(&mut self, gateway: GatewayHandle) {
        self.gateway = Some(gateway);
    }

    pub fn take_gateway(&mut self) -> Option<GatewayHandle> {
        self.gateway.take()
    }

    pub fn gateway(&self) -> Option<&GatewayHandle> {
        self.gateway.as_ref()
    }

    /// What the guest reads through `wasi:config`.
    pub fn set_config(&mut self, config: impl Into<Arc<BTreeMap<String, String>>>) {
        self.config = config.into();
    }

    /// What the monotonic clock shows, to the microsecond: time since the sandbox was made, plus what
    /// [`Self::set_uptime`] said.
    pub fn uptime(&self) -> Duration {
        let since = match &self.reproducible {
            Some(Reproducible { clock, .. }) => Duration::from_millis(clock.fetch_add(1, Ordering::Relaxed)),
            None => self.born.elapsed(),
        };
        let uptime = self.uptime.saturating_add(since);
        Duration::new(uptime.as_secs(), uptime.subsec_micros() * 1_000)
    }

    /// Lets the monotonic clock go on from here: for a resumed session, whose clock must not go back.
    pub fn set_uptime(&mut self, uptime: Duration) {
        self.uptime = uptime;
        self.born = Instant::now();
    }

    /// The host's instant at which the monotonic clock shows `uptime`; none if that is out of all bounds.
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

/// A full table is a limit of the run, not a defect of the guest.
pub(crate) fn table_error(error: ResourceTableError) -> wasmtime::Error {
    match error {
        ResourceTableError::Full => Stop(LimitName::HostMemory).into(),
        error => error.into(),
    }
}

/// As [`table_error`], where another crate has wrapped the error already.
pub(crate) fn full_is_a_limit(error: wasmtime::Error) -> wasmtime::Error {
    match error.downcast::<ResourceTableError>() {
        Ok(error) => table_error(error),
        Err(error) => error,
    }
}
