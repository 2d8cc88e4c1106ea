//! The address of a worker on another machine.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteWorker {
    /// `host:port`; also the worker's name in the store.
    pub authority: String,
}
