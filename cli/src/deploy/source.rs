//! The source of a deployment: a file, a folder, standard input, or an image in a registry.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cofferdam_registry::{ArchiveError, ArchiveLimits, ArchiveSource, Reference, Rules, inspect};

use super::layout::Layout;
use crate::stdin;

/// The bytes at the beginning of an archive that are looked at before anything is asked of the server.
const HEAD_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum DeploySource {
    File {
        path: PathBuf,
        size: u64,
    },
    /// An OCI layout, sent as a tar.
    Layout(Layout),
    /// With the bytes that were read from it already.
    Stdin(Vec<u8>),
    /// Not checked here: the server asks the registry.
    Reference(String),
    /// A version that was uploaded and not deployed.
    Uploaded(u64),
}

impl DeploySource {
    /// # Errors
    /// `text` is neither a file nor a reference.
    pub(super) fn find(text: &str) -> anyhow::Result<Self> {
        if text == "-" {
            return Ok(Self::Stdin(Vec::new()));
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
        if !archive
            && !local
            && let Err(error) = Reference::parse_familiar(text)
            && error.is_a_registry()
        {
            bail!("no such file or folder, and {error}");
        }
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

    /// Looks at the first bytes, so that nothing is asked of the server for what is no archive. Standard input is read for
    /// an upload only.
    ///
    /// # Errors
    /// It is empty, or something else.
    pub(super) fn check(&mut self, uploads: bool) -> anyhow::Result<()> {
        let (name, head) = match self {
            Self::File { path, .. } => {
                let name = path.display().to_string();
                let mut head = Vec::new();
                let file = File::open(path).with_context(|| name.clone())?;
                file.take(HEAD_BYTES as u64).read_to_end(&mut head).with_context(|| name.clone())?;
                (name, head)
            }
            Self::Stdin(head) if uploads => {
                *head = stdin::head(&mut std::io::stdin().lock(), HEAD_BYTES)?;
                ("standard input".to_owned(), head.clone())
            }
            Self::Stdin(_) | Self::Layout(_) | Self::Reference(_) | Self::Uploaded(_) => return Ok(()),
        };
        let more = head.len() == HEAD_BYTES;
        let source = ArchiveSource::Stream(Box::new(Cursor::new(head).chain(Rest { more })));
        match inspect::archive(source, &ArchiveLimits::default(), &Rules::inspecting(None)) {
            Err(error @ ArchiveError::NotAnArchive { .. }) => Err(anyhow::Error::new(error).context(name)),
            // Nothing else can be said without the rest of it.
            _ => Ok(()),
        }
    }

    /// The size in bytes, if known.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::File { size, .. } => Some(*size),
            Self::Layout(layout) => Some(layout.size()),
            Self::Stdin(_) | Self::Reference(_) | Self::Uploaded(_) => None,
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
            Self::Stdin(head) => Ok(Box::new(Cursor::new(head.clone()).chain(std::io::stdin()))),
            Self::Reference(_) | Self::Uploaded(_) => Ok(Box::new(std::io::empty())),
        }
    }
}

/// The end after the first bytes, or an error in place of those that are not read yet.
struct Rest {
    more: bool,
}

impl Read for Rest {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        if self.more { Err(std::io::Error::other("only the beginning is looked at")) } else { Ok(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of a tar for a file of this size, which ends where a block ends.
    fn entry(size: usize) -> Vec<u8> {
        let mut head = vec![0_u8; 512];
        head[..5].copy_from_slice(b"layer");
        head[100..124].copy_from_slice(b"0000644\x000000000\x000000000\0");
        head[124..148].copy_from_slice(format!("{size:011o}\x0000000000000\0").as_bytes());
        head[148..156].copy_from_slice(b"        ");
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        head.resize(512 + size, 7);
        head
    }

    #[test]
    fn an_entry_that_ends_where_the_look_ends_is_not_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        let check = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            DeploySource::find(file.to_str().unwrap()).unwrap().check(true)
        };
        let first = entry(HEAD_BYTES - 512);
        check(&[first.clone(), entry(512)].concat()).unwrap();
        assert!(check(&first[..1_024]).is_ok(), "it is cut, which the upload tells");
        assert!(check(&[entry(512), vec![0; 1_024]].concat()).is_err(), "all of it is there, and no image is in it");
    }

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
        let said = format!("{:#}", DeploySource::find(file.to_str().unwrap()).unwrap().check(true).unwrap_err());
        assert!(said.contains("a.tar: this is not an image archive"), "{said}");
        for (name, bytes) in [("b.tar", &b""[..]), ("c.txt", b"FROM debian\n"), ("d.zip", b"PK\x03\x04aaaaaaaaaa")] {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            assert!(DeploySource::find(file.to_str().unwrap()).unwrap().check(false).is_err(), "{name}");
        }
        let error = DeploySource::find(folder.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("oci-layout"), "{error}");
    }
}
