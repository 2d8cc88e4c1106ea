//! The AI gateway as its callers see it: the official clients, and upstreams that misbehave.

mod attack;
mod clients;
mod judge;
mod rig;
