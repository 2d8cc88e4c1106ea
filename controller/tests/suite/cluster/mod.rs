//! The cluster's side of container agents. `recorded/` and `attack/` hold what API servers answered, or might; `real.rs`
//! needs a cluster of its own.

mod api;
mod applied;
mod followed;
mod reached;
mod real;
mod refused;
mod seen;
