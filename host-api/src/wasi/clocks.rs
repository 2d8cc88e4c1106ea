//! `wasi:clocks`: the wall clock, and a monotonic clock that starts near zero in each sandbox, both to the microsecond.

use std::time::{Duration, Instant};

use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
};

use super::bindings::clocks::{
    monotonic_clock,
    wall_clock::{self, Datetime},
};
use crate::{
    interrupt::Timer,
    sandbox::{Sandbox, full_is_a_limit},
};

const RESOLUTION: Duration = Duration::from_micros(1);

struct Deadline(Option<Instant>);

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        Timer(self.0).await;
    }
}

impl Sandbox {
    fn timer(&mut self, at: Option<Instant>) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = self.push(Deadline(at))?;
        subscribe(&mut self.table, deadline).map_err(full_is_a_limit)
    }
}

impl monotonic_clock::Host for Sandbox {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.uptime().as_nanos()).unwrap_or(u64::MAX))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(RESOLUTION.as_nanos() as u64)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let at = self.instant_at(Duration::from_nanos(when));
        self.timer(at)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer(Instant::now().checked_add(Duration::from_nanos(duration)))
    }
}

impl wall_clock::Host for Sandbox {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        Ok(datetime(self.vfs.now()))
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(datetime(RESOLUTION))
    }
}

pub(crate) fn datetime(since_1970: Duration) -> Datetime {
    Datetime { seconds: since_1970.as_secs(), nanoseconds: since_1970.subsec_nanos() }
}
