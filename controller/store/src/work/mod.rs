//! Agents at work: threads, tasks, messages, events, receipts and the queue.
//!
//! Everything a task does is a batch (`batch/`); the rest hands tasks out, keeps leases, and reads. Never decides what a task
//! does next. Start reading at `rows.rs`, then `batch/mod.rs`.

mod batch;
mod bus;
mod closed;
mod decode;
mod floors;
mod follow;
mod held;
mod info;
mod leases;
mod queue;
mod reads;
mod retention;
mod rows;
mod rowset;
mod schema;
mod search;
mod service;
mod timers;

pub use bus::PgBus;
pub use reads::{Cursor, Span, TaskQuery, ThreadQuery, WaitingReceipt};
pub use retention::{Forked, ThreadDeleted};
pub use rows::{
    Asked, HandedOut, Lane, Lease, MessageRow, NewEvent, NewMessage, NewTask, ReceiptRow, ReceiptState, Settle, Step,
    TaskRow, ThreadRow, ToolResult, Turn, Used, WorkEventRow, Write, Written,
};
pub(crate) use rowset::Dialect;
pub(crate) use schema::prepare;
pub use search::{FoundMessage, FoundMessages, MessageSearch};
pub(crate) use service::Work;
