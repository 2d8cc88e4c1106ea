//! Compresses layers in parallel, and decompresses. The output depends only on input, format and level, not on the
//! number of threads. Holds at most a few blocks.

mod choice;
mod decode;
mod error;
mod parallel;

pub use choice::Choice;
pub(crate) use decode::{DecodeError, DecodeLimits, Decoder, Seen, sniff};
pub use error::CompressError;
pub use parallel::{Compressed, Compressor, Pool};

/// The encoding of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The OCI media type of a layer in this encoding.
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// Docker's media type of a layer in this encoding. zstd has none.
    pub fn docker_layer_media_type(self) -> Option<&'static str> {
        match self {
            Self::Plain => Some("application/vnd.docker.image.rootfs.diff.tar"),
            Self::Gzip => Some("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            Self::Zstd => None,
        }
    }
}

/// The compression of layers that arrive uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    None,
    /// Levels 1 to 12.
    Gzip(i32),
    /// Levels 1 to 19.
    Zstd(i32),
}

impl Compression {
    /// About the size of Docker's and skopeo's output in a third of their time. Higher levels cost far more than they
    /// save.
    pub const GZIP: Self = Self::Gzip(1);

    pub fn encoding(self) -> Encoding {
        match self {
            Self::None => Encoding::Plain,
            Self::Gzip(_) => Encoding::Gzip,
            Self::Zstd(_) => Encoding::Zstd,
        }
    }

    /// Checks that the level exists.
    pub fn check(self) -> Result<Self, CompressError> {
        match self {
            Self::None => Ok(self),
            Self::Gzip(level) if (1..=12).contains(&level) => Ok(self),
            Self::Zstd(level) if (1..=19).contains(&level) => Ok(self),
            Self::Gzip(_) => Err(CompressError::Level { name: "gzip", most: 12 }),
            Self::Zstd(_) => Err(CompressError::Level { name: "zstd", most: 19 }),
        }
    }
}
