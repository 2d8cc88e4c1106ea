//! The source of a deployment: a file, a folder, standard input, or an image in a registry.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::layout::Layout;

#[derive(Debug)]
pub(super) enum DeploySource {
    File {
        path: PathBuf,
        size: u64,
    },
    /// An OCI layout, sent as a tar.
    Layout(Layout),
    Stdin,
    /// Not checked here: the server asks the registry.
    Reference(String),
}

impl DeploySource {
    /// # Errors
    /// `text` is neither a file nor a reference.
    pub(super) fn find(text: &str) -> anyhow::Result<Self> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        let path = Path::new(text);
        match std::fs::metadata(path) {
            Ok(about) if about.is_dir() => return Ok(Self::Layout(Layout::read(path)?)),
            Ok(about) => return Ok(Self::File { path: path.to_owned(), size: about.len() }),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context(text.to_owned()),
            Err(_) => {}
        }
        let archive = [".tar", ".gz", ".tgz", ".zst", ".oci"].iter().any(|end| text.ends_with(end));
        let local = text.starts_with(['.', '/', '~']);
        // As in `docker pull`: a first part with a dot or a port is a registry.
        let registry = text.split('/').next().filter(|_| text.contains('/'));
        let registry = registry.is_some_and(|host| host == "localhost" || host.contains(['.', ':']));
        if archive || local || !registry {
            bail!(
                "{text}: no such file or folder, and not the name of an image, which begins with a registry, such as \
                 r.example/team/agent:1.4"
            );
        }
        Ok(Self::Reference(text.to_owned()))
    }

    /// The size in bytes, if known.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::File { size, .. } => Some(*size),
            Self::Layout(layout) => Some(layout.size()),
            Self::Stdin | Self::Reference(_) => None,
        }
    }

    /// True if it can be sent again, from any byte.
    pub(super) fn is_resumable(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Layout(_))
    }

    /// Opens it at byte `from`.
    pub(super) fn open(&self, from: u64) -> std::io::Result<Box<dyn Read + Send>> {
        match self {
            Self::File { path, .. } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(from))?;
                Ok(Box::new(file))
            }
            Self::Layout(layout) => {
                let mut tar = layout.tar();
                std::io::copy(&mut tar.by_ref().take(from), &mut std::io::sink())?;
                Ok(Box::new(tar))
            }
            Self::Stdin => Ok(Box::new(std::io::stdin())),
            Self::Reference(_) => Ok(Box::new(std::io::empty())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_a_reference_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        std::fs::write(&file, b"12345").unwrap();
        let source = DeploySource::find(file.to_str().unwrap()).unwrap();
        assert_eq!((source.size(), source.is_resumable()), (Some(5), true));
        let mut rest = String::new();
        source.open(3).unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "45");
        for reference in ["r.example/a:1", "localhost:5000/a", "localhost/a", "r.example/a/b@sha256:00"] {
            assert!(matches!(DeploySource::find(reference).unwrap(), DeploySource::Reference(_)), "{reference}");
        }
        for neither in ["agent.tar.gz", "./agent", "agent", "team/agent", "/nowhere/agent:1"] {
            assert!(DeploySource::find(neither).is_err(), "{neither}");
        }
        let error = DeploySource::find(folder.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("oci-layout"), "{error}");
    }
}
