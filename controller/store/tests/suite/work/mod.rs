//! Agents at work: batches, the queue, leases, timers, search, retention, and the bus.

mod batches;
mod bus;
mod ends;
mod faults;
mod queue;
mod rate;
mod rig;
mod search;
