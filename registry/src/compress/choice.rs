//! Chooses the compression of layers for a registry. Asks nobody: a registry does not say beforehand what it takes, nor
//! what the machines take that will pull.

use super::Compression;
use crate::reference::Reference;

/// 12 levels of gzip, 19 of zstd; this one is near the fast end of both.
const DEFAULT_LEVEL: i32 = 3;

/// The compression that somebody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// None for a registry on this machine, where compressing takes longer than sending; else gzip, which every registry
    /// and every runtime takes. Never zstd: old runtimes cannot pull it, and nobody here knows which will.
    #[default]
    Auto,
    Gzip,
    Zstd,
    None,
}

impl Choice {
    /// The compression for this registry, with a level if one was asked for. The level is not checked.
    pub fn at(self, level: Option<i32>, reference: &Reference) -> Compression {
        let level = level.unwrap_or(DEFAULT_LEVEL);
        match self {
            Self::Auto if reference.is_on_this_machine() => Compression::None,
            Self::Auto | Self::Gzip => Compression::Gzip(level),
            Self::Zstd => Compression::Zstd(level),
            Self::None => Compression::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registry_on_this_machine_gets_no_compression() {
        let at = |text: &str, choice: Choice| choice.at(None, &Reference::parse(text).unwrap());
        for near in ["localhost:5000/a", "registry.localhost/a", "127.0.0.1:5000/a", "127.8.8.8:5000/a", "[::1]:5000/a"]
        {
            assert_eq!(at(near, Choice::Auto), Compression::None, "{near}");
            assert_eq!(at(near, Choice::Gzip), Compression::Gzip(3), "{near}");
        }
        for far in ["r.example/a", "localhost.example/a", "10.0.0.1:5000/a", "[::2]:5000/a", "docker.io/a"] {
            assert_eq!(at(far, Choice::Auto), Compression::Gzip(3), "{far}");
            assert_eq!(at(far, Choice::None), Compression::None, "{far}");
        }
        assert_eq!(Choice::Zstd.at(Some(9), &Reference::parse("r.example/a").unwrap()), Compression::Zstd(9));
    }
}
