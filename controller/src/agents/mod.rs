//! Container agents.

pub mod logs;
