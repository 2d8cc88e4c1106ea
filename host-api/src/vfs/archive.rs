//! Serializes a file system to one stream of bytes, to suspend and resume it.
//!
//! Format, all numbers little-endian: `CFDVFS`, a version byte (1), then `/home/user` and `/tmp`, each as a list of
//! entries that ends in a zero byte. An entry: kind (1 folder, 2 file, 3 symlink), name (u16 length, text), three times
//! (u64 ns: accessed, modified, changed), then for a folder its list, for a file its size (u64) and for each 64 KiB of
//! it the bytes that are stored (u32 length; the rest is zeros), for a symlink its target (u16 length, text).
//!
//! The reader trusts nothing: it allocates by bytes received, not by declared lengths, and stops at the quota.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use super::{
    Base, FsError, MAX_DEPTH, NAME_BYTES, PATH_BYTES, Quota,
    content::{CHUNK, Content, MAX_FILE},
    node::{Body, NodeId, Times},
    tree::Tree,
};

const MAGIC: &[u8; 7] = b"CFDVFS\x01";
const END: u8 = 0;
const FOLDER: u8 = 1;
const FILE: u8 = 2;
const LINK: u8 = 3;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("archive: {0}")]
    Io(#[from] std::io::Error),
    #[error("not a file archive of this version: {0}")]
    Format(&'static str),
    #[error("archive: {0}")]
    Fs(#[from] FsError),
}

pub(crate) fn write(tree: &Tree, mut out: impl Write) -> Result<(), ArchiveError> {
    out.write_all(MAGIC)?;
    for root in [NodeId::HOME, NodeId::TMP] {
        write_folder(tree, root, &mut out)?;
    }
    out.flush()?;
    Ok(())
}

// The recursion is bounded by MAX_DEPTH.
fn write_folder(tree: &Tree, folder: NodeId, out: &mut impl Write) -> Result<(), ArchiveError> {
    let Some(Body::Folder(children)) = tree.node(folder).map(|node| &node.body) else {
        return Err(ArchiveError::Fs(FsError::NotFolder));
    };
    for (name, id) in children {
        let node = tree.node(*id).ok_or(FsError::NoEntry)?;
        out.write_all(&[match node.body {
            Body::Folder(_) => FOLDER,
            Body::File(_) => FILE,
            Body::Link(_) => LINK,
        }])?;
        write_text(name, out)?;
        for time in [node.times.accessed, node.times.modified, node.times.changed] {
            out.write_all(&u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes())?;
        }
        match &node.body {
            Body::Folder(_) => write_folder(tree, *id, out)?,
            Body::Link(target) => write_text(target, out)?,
            Body::File(content) => {
                out.write_all(&content.len().to_le_bytes())?;
                for index in 0..content.len().div_ceil(CHUNK as u64) {
                    let stored = content.stored(index as usize);
                    out.write_all(&(stored.len() as u32).to_le_bytes())?;
                    out.write_all(stored)?;
                }
            }
        }
    }
    out.write_all(&[END])?;
    Ok(())
}

fn write_text(text: &str, out: &mut impl Write) -> Result<(), ArchiveError> {
    let len = u16::try_from(text.len()).map_err(|_| FsError::NameTooLong)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(text.as_bytes())?;
    Ok(())
}

pub(crate) fn read(base: Arc<Base>, quota: Quota, mut from: impl Read) -> Result<Tree, ArchiveError> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(ArchiveError::Format("unknown start"));
    }
    let mut tree = Tree::new(base, quota)?;
    for root in [NodeId::HOME, NodeId::TMP] {
        // The folders being read, innermost last. New entries change a folder's times, so its times are set at its end.
        let mut folders = vec![(root, None)];
        while let Some((folder, own_times)) = folders.last().copied() {
            let kind = u8::from_le_bytes(number(&mut from)?);
            if kind == END {
                if let Some(times) = own_times {
                    tree.node_mut(folder)?.times = times;
                }
                folders.pop();
                continue;
            }
            if folders.len() > MAX_DEPTH {
                return Err(ArchiveError::Format("too deep"));
            }
            let name = read_text(&mut from, NAME_BYTES)?;
            let mut times = || Ok::<_, ArchiveError>(Duration::from_nanos(u64::from_le_bytes(number(&mut from)?)));
            let times = Times { accessed: times()?, modified: times()?, changed: times()? };
            if tree.lookup(folder, &name).is_some() {
                return Err(ArchiveError::Format("a name twice"));
            }
            let body = match kind {
                FOLDER => Body::Folder(Default::default()),
                FILE => Body::File(read_content(&mut tree, &mut from)?),
                LINK => Body::Link(read_text(&mut from, PATH_BYTES)?.into()),
                _ => return Err(ArchiveError::Format("unknown kind of entry")),
            };
            let id = tree.create(folder, &name, body)?;
            tree.node_mut(id)?.times = times;
            if kind == FOLDER {
                folders.push((id, Some(times)));
            }
        }
    }
    Ok(tree)
}

fn read_content(tree: &mut Tree, from: &mut impl Read) -> Result<Content, ArchiveError> {
    let size = u64::from_le_bytes(number(from)?);
    if size > MAX_FILE {
        return Err(FsError::FileTooLarge.into());
    }
    tree.check_room(size)?;
    let mut content = Content::default();
    let mut buffer = Vec::new();
    for index in 0..size.div_ceil(CHUNK as u64) {
        let at = index * CHUNK as u64;
        let stored = u32::from_le_bytes(number(from)?) as usize;
        if stored as u64 > (size - at).min(CHUNK as u64) {
            return Err(ArchiveError::Format("a chunk is too long"));
        }
        if stored > 0 {
            buffer.resize(stored, 0);
            from.read_exact(&mut buffer)?;
            if content.write(at, &buffer, &tree.base.budget)? < stored {
                return Err(FsError::NoSpace.into());
            }
        }
    }
    content.set_len(size, &tree.base.budget)?;
    Ok(content)
}

fn read_text(from: &mut impl Read, most: usize) -> Result<String, ArchiveError> {
    let len = usize::from(u16::from_le_bytes(number(from)?));
    if len > most {
        return Err(FsError::NameTooLong.into());
    }
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| ArchiveError::Format("a text is not UTF-8"))?;
    if text.contains('\0') {
        return Err(ArchiveError::Format("a NUL in a text"));
    }
    Ok(text)
}

fn number<const N: usize>(from: &mut impl Read) -> Result<[u8; N], ArchiveError> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
