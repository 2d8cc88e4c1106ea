//! Chooses the compression of layers for a registry. Asks nobody: a registry does not say beforehand what it takes, nor
//! what the machines take that will pull.

use super::Compression;
use crate::reference::Reference;

/// Levels go to 19. Level 1 takes about two thirds of the time for a tenth more bytes.
const ZSTD_LEVEL: i32 = 3;

/// The compression that somebody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// None for a registry on this machine, where gzip saves no time and a pull has nothing to unpack; else gzip, which
    /// every registry and every runtime takes. Never zstd: old runtimes cannot pull it, and nobody here knows which will.
    #[default]
    Auto,
    Gzip,
    Zstd,
    None,
}

impl Choice {
    /// The compression for this registry, with a level if one was asked for. The level is not checked.
    pub fn at(self, level: Option<i32>, reference: &Reference) -> Compression {
        match self {
            Self::Auto if reference.is_on_this_machine() => Compression::None,
            Self::Auto | Self::Gzip => level.map_or(Compression::GZIP, Compression::Gzip),
            Self::Zstd => Compression::Zstd(level.unwrap_or(ZSTD_LEVEL)),
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
            assert_eq!(at(near, Choice::Gzip), Compression::Gzip(1), "{near}");
        }
        for far in ["r.example/a", "localhost.example/a", "10.0.0.1:5000/a", "[::2]:5000/a", "docker.io/a"] {
            assert_eq!(at(far, Choice::Auto), Compression::Gzip(1), "{far}");
            assert_eq!(at(far, Choice::None), Compression::None, "{far}");
        }
        assert_eq!(Choice::Zstd.at(Some(9), &Reference::parse("r.example/a").unwrap()), Compression::Zstd(9));
    }
}
