//! Sends an OCI layout's folder as one tar that is made on the way. The same folder gives the same bytes, so that an upload
//! can resume at any of them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const BLOCK: u64 = 512;
/// More files than any image has.
const MAX_FILES: usize = 100_000;

#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
    /// Paths below the root, sorted, with their sizes.
    files: Vec<(String, u64)>,
}

impl Layout {
    /// # Errors
    /// The folder is not an OCI layout, or cannot be read.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        if !root.join("oci-layout").is_file() {
            bail!("{}: not an OCI layout: the folder has no file `oci-layout`", root.display());
        }
        let mut files = Vec::new();
        for name in ["oci-layout", "index.json"] {
            files.push((name.to_owned(), std::fs::metadata(root.join(name)).with_context(|| name.to_owned())?.len()));
        }
        let blobs = root.join("blobs/sha256");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&blobs).with_context(|| blobs.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name();
            let (Some(name), true) = (name.to_str(), entry.metadata()?.is_file()) else { continue };
            found.push((format!("blobs/sha256/{name}"), entry.metadata()?.len()));
            if found.len() > MAX_FILES {
                bail!("{}: more than {MAX_FILES} files", blobs.display());
            }
        }
        found.sort();
        files.append(&mut found);
        Ok(Self { root: root.to_owned(), files })
    }

    pub(super) fn size(&self) -> u64 {
        self.files.iter().map(|(_, size)| BLOCK + size.next_multiple_of(BLOCK)).sum::<u64>() + 2 * BLOCK
    }

    pub(super) fn tar(&self) -> Tar {
        Tar { root: self.root.clone(), files: self.files.clone().into(), now: Box::new(std::io::empty()), ended: false }
    }
}

/// Reads the tar.
pub(super) struct Tar {
    root: PathBuf,
    files: VecDeque<(String, u64)>,
    now: Box<dyn Read + Send>,
    ended: bool,
}

impl Read for Tar {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let got = self.now.read(out)?;
            if got > 0 || out.is_empty() || self.ended {
                return Ok(got);
            }
            let Some((name, size)) = self.files.pop_front() else {
                self.ended = true;
                self.now = Box::new(std::io::repeat(0).take(2 * BLOCK));
                continue;
            };
            let file = Exact { file: File::open(self.root.join(&name))?, left: size };
            let pad = std::io::repeat(0).take(size.next_multiple_of(BLOCK) - size);
            self.now = Box::new(Cursor::new(header(&name, size)).chain(file).chain(pad));
        }
    }
}

/// Reads as many bytes as the header says, even if the file changes meanwhile.
struct Exact {
    file: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let max = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.file.read(out.get_mut(..max).unwrap_or_default())?;
        if got == 0 && max > 0 {
            return Err(std::io::Error::other("a file of the layout was truncated while it was sent"));
        }
        self.left -= got as u64;
        Ok(got)
    }
}

/// A header of POSIX.1-1988's tar (ustar). Names here have at most 77 bytes.
fn header(name: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    let mut put = |at: usize, bytes: &[u8]| {
        block.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = *byte);
    };
    put(0, name.as_bytes().get(..100).unwrap_or(name.as_bytes()));
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    // Octal up to 8 GiB, then base 256 (GNU).
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let mut put = |at: usize, bytes: &[u8]| {
        block.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = *byte);
    };
    put(148, format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blobs) = (folder.path().join("l"), folder.path().join("l/blobs/sha256"));
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(root.join("oci-layout"), b"{}").unwrap();
        std::fs::write(root.join("index.json"), vec![b'x'; 512]).unwrap();
        std::fs::write(blobs.join("a".repeat(64)), vec![b'y'; 70_001]).unwrap();
        std::fs::write(blobs.join("b".repeat(64)), b"").unwrap();
        let layout = Layout::read(&root).unwrap();
        let mut all = Vec::new();
        layout.tar().read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, layout.size());
        let archive = folder.path().join("l.tar");
        std::fs::write(&archive, &all).unwrap();
        let out = folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let done = std::process::Command::new("tar").arg("xf").arg(&archive).arg("-C").arg(&out).status().unwrap();
        assert!(done.success());
        assert_eq!(std::fs::read(out.join("blobs/sha256").join("a".repeat(64))).unwrap(), vec![b'y'; 70_001]);
        assert_eq!(std::fs::read(out.join("index.json")).unwrap().len(), 512);
        std::fs::write(blobs.join("a".repeat(64)), b"short").unwrap();
        assert!(layout.tar().read_to_end(&mut Vec::new()).is_err());
    }
}
