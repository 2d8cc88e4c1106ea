//! Compression errors. None depends on the archive's content.

use crate::archive::SinkError;

#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    #[error("levels of {name} are 1 to {most}")]
    Level { name: &'static str, most: i32 },
    #[error("a compressor could not be started: {0}")]
    Start(#[source] std::io::Error),
    #[error("a block of a layer could not be compressed: {0}")]
    Block(String),
    #[error("a thread that compresses has ended early")]
    Gone,
    /// The receiver of the compressed bytes stopped.
    #[error(transparent)]
    Sink(#[from] SinkError),
}
