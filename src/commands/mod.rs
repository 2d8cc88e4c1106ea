//! The commands' arguments and their way into the crates. One small file each, no logic.

pub mod agent;
pub mod deploy;
pub mod doctor;
pub mod image;
pub mod internal;
pub mod run;
pub mod secret;
pub mod serve;
pub mod tool;
