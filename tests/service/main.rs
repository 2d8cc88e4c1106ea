//! Tests of the processes: crashes, restarts, durability, isolation. They run one at a time, because they measure times
//! and count handles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod crash;
mod drain;
mod durable;
mod flat;
mod full_disk;
mod load;
mod lost_upload;
mod push;
mod quiet;
mod remote;
mod replaced;
mod sandbox_models;
mod startup;
mod streams;
mod tools;
mod traces;
mod unread;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a condition holds; returns the time that it took.
#[track_caller]
fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < patience, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    started.elapsed()
}
