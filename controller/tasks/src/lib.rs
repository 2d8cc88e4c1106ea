//! Tasks, threads and their events: written in groups, handed out fairly, followed by anybody.
//!
//! Durable when a call returns; whatever is kept in memory can be made again from the store. Never runs a task, never calls a
//! model or a tool, never decides who may use an agent. Start reading at `tasks.rs`.

mod asked;
mod config;
mod decide;
mod error;
mod follow;
mod info;
mod lists;
mod metrics;
mod order;
mod read;
mod receipts;
mod steer;
mod tasks;
mod threads;
mod wait;
mod worker;
mod writer;

pub use asked::AskedOf;
pub use config::TasksConfig;
pub use error::Error;
pub use follow::{Event, Follow};
pub use info::{approval, info, message_info, thread_info};
pub use lists::{
    ApprovalPage, Found, FoundPage, MAX_PAGE, MessagePage, MessagesOf, TaskFilter, TaskPage, ThreadFilter, ThreadPage,
};
pub use metrics::TaskMetrics;
pub use receipts::{canonical, digest};
pub use tasks::Tasks;
pub use worker::{LaneLimit, LaneLimits, NoLimits, WorkerLease};
