//! An incremental tar reader: ustar, pax, GNU long names, base-256 numbers, maps of sparse files. Never keeps the data
//! of an entry, and bounds what it keeps of headers.

mod header;
mod map;
mod pax;
mod sparse;

use std::fmt;

pub(crate) use header::Kind;
use header::{BLOCK, Header};
use map::Mapped;
use sparse::{Lines, Map};
pub(crate) use sparse::{Run, Runs, Sparse};

use crate::shown::size;

/// The reason why a tar archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TarError {
    #[error("is damaged: {what} at byte {at}")]
    Damaged { what: &'static str, at: u64 },
    #[error("has {what} at byte {at}")]
    TooMuch { what: &'static str, limit: Bound, at: u64 },
}

/// A limit, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Bytes(u64),
    Count(u64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&size(*bytes)),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TarLimits {
    pub path_bytes: usize,
    pub pax_bytes: usize,
    /// Headers of every kind.
    pub entries: u64,
}

/// A header with all of its extensions. Its data follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Bytes that follow. 0 for a link, a folder or a device, whatever the header says.
    pub size: u64,
    /// The bytes that follow are parts of a larger file.
    pub sparse: Option<Sparse>,
}

impl Entry {
    /// Bytes of the file that the entry stands for.
    pub(crate) fn whole(&self) -> u64 {
        self.sparse.as_ref().map_or(self.size, Sparse::size)
    }
}

/// The meaning of the first bytes of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Part of something. All of it was consumed.
    More,
    Entry(Entry),
    /// Data of the last entry.
    Data,
    /// After the last byte of an entry, or at once if it is empty. Consumes no input.
    EndOfEntry,
    /// Bytes after the end of the archive. All were consumed.
    After,
}

#[derive(Debug)]
enum State {
    Header,
    /// The body of a header that describes the next entry.
    Extension {
        kind: Kind,
        body: Vec<u8>,
        left: u64,
    },
    /// Further blocks of a sparse file's map.
    SparseMap,
    Data {
        left: u64,
        size: u64,
    },
    Padding {
        left: u64,
    },
    /// One zero block came. A second one, or the end of input, ends the archive.
    Zeros,
    After,
}

#[derive(Debug)]
pub(crate) struct Tar {
    limits: TarLimits,
    state: State,
    /// A block of which only part has arrived.
    partial: Vec<u8>,
    at: u64,
    entries: u64,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: Option<sparse::Records>,
    /// A sparse file whose map is being read.
    mapped: Option<Mapped>,
    /// Parts of sparse files so far.
    parts: u64,
}

impl Tar {
    pub(crate) fn new(limits: TarLimits) -> Self {
        Self {
            limits,
            state: State::Header,
            partial: Vec::new(),
            at: 0,
            entries: 0,
            path: None,
            link: None,
            size: None,
            sparse: None,
            mapped: None,
            parts: 0,
        }
    }

    /// Bytes consumed so far.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Headers of every kind so far.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Consumes the next part of the input and returns its length and meaning. `input` must not be empty.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<(usize, Step), TarError> {
        let (taken, step) = match &mut self.state {
            State::Header | State::Zeros | State::SparseMap => self.block(input)?,
            State::Extension { body, left, .. } => {
                let part = up_to(input, *left);
                body.extend_from_slice(part);
                *left = left.saturating_sub(part.len() as u64);
                if *left == 0 {
                    self.extension()?;
                }
                (part.len(), Step::More)
            }
            State::Data { left: 0, size } => {
                self.state = padding(*size);
                (0, Step::EndOfEntry)
            }
            State::Data { left, .. } => {
                let part = up_to(input, *left).len();
                *left = left.saturating_sub(part as u64);
                (part, Step::Data)
            }
            State::Padding { left } => {
                let part = up_to(input, *left).len();
                *left = left.saturating_sub(part as u64);
                if *left == 0 {
                    self.state = State::Header;
                }
                (part, Step::More)
            }
            State::After => (input.len(), Step::After),
        };
        self.at = self.at.saturating_add(taken as u64);
        Ok((taken, step))
    }

    /// Skips the rest of an entry's data: the number of input bytes, with padding, that the caller leaves out.
    pub(crate) fn skip(&mut self) -> u64 {
        let State::Data { left, size } = self.state else { return 0 };
        self.state = State::Header;
        let skipped = left.saturating_add(padding_of(size));
        self.at = self.at.saturating_add(skipped);
        skipped
    }

    /// True if the input may end here: after the end marker or its first half. `lenient` also allows an end without a
    /// marker, but never within an entry.
    pub(crate) fn may_end(&self, lenient: bool) -> bool {
        match self.state {
            State::After => true,
            State::Zeros => self.partial.iter().all(|&byte| byte == 0),
            State::Data { left: 0, size } => lenient && padding_of(size) == 0,
            State::Header => lenient && self.partial.is_empty() && !self.is_extended(),
            _ => false,
        }
    }

    fn is_extended(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse.is_some()
    }

    fn block(&mut self, input: &[u8]) -> Result<(usize, Step), TarError> {
        let (taken, step) = match input.first_chunk::<BLOCK>() {
            Some(block) if self.partial.is_empty() => (BLOCK, self.header(block)?),
            _ => {
                let missing = BLOCK.saturating_sub(self.partial.len());
                let part = up_to(input, missing as u64);
                self.partial.extend_from_slice(part);
                match self.partial.first_chunk::<BLOCK>().copied() {
                    None => (part.len(), Step::More),
                    Some(block) => {
                        self.partial.clear();
                        (part.len(), self.header(&block)?)
                    }
                }
            }
        };
        Ok((taken, step))
    }

    fn header(&mut self, block: &[u8; BLOCK]) -> Result<Step, TarError> {
        if let Some(mapped) = self.mapped.take() {
            return self.map_block(mapped, block);
        }
        if block.iter().all(|&byte| byte == 0) {
            if self.is_extended() {
                return Err(self.damaged("an extended header without an entry"));
            }
            self.state = if matches!(self.state, State::Zeros) { State::After } else { State::Zeros };
            return Ok(Step::More);
        }
        if matches!(self.state, State::Zeros) {
            return Err(self.damaged("an entry after the end marker"));
        }
        self.count()?;
        let header = Header::parse(block).map_err(|what| self.damaged(what))?;
        match header.kind {
            Kind::Pax | Kind::PaxGlobal => self.begin_extension(header, self.limits.pax_bytes),
            // A name and its NUL.
            Kind::LongName | Kind::LongLink => self.begin_extension(header, self.limits.path_bytes.saturating_add(1)),
            _ => self.entry(header),
        }
    }

    fn begin_extension(&mut self, header: Header, limit: usize) -> Result<Step, TarError> {
        if header.size > limit as u64 {
            return Err(self.too_much("an extended header that is too large", Bound::Bytes(limit as u64)));
        }
        self.state = match header.size {
            0 => State::Header,
            left => State::Extension { kind: header.kind, body: Vec::new(), left },
        };
        Ok(Step::More)
    }

    fn extension(&mut self) -> Result<(), TarError> {
        let State::Extension { kind, body, .. } = std::mem::replace(&mut self.state, State::Header) else {
            return Ok(());
        };
        self.state = padding(body.len() as u64);
        match kind {
            Kind::LongName => self.path = Some(until_nul(body)),
            Kind::LongLink => self.link = Some(until_nul(body)),
            _ => {
                let records = pax::parse(&body).map_err(|what| self.damaged(what))?;
                if kind == Kind::PaxGlobal {
                    // Programs disagree on whether these apply to later entries.
                    return if records.is_empty() {
                        Ok(())
                    } else {
                        Err(self.damaged("a global extended header that sets paths or sizes"))
                    };
                }
                self.path = records.path.or(self.path.take());
                self.link = records.link.or(self.link.take());
                self.size = records.size.or(self.size);
                if records.sparse != sparse::Records::default() {
                    self.sparse = Some(records.sparse);
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: Header) -> Result<Step, TarError> {
        let name = self.path.take().unwrap_or(header.name);
        let link = self.link.take().unwrap_or(header.link);
        let size = self.size.take().unwrap_or(header.size);
        let records = self.sparse.take().filter(|_| header.kind == Kind::File);
        if name.len() > self.limits.path_bytes || link.len() > self.limits.path_bytes {
            return Err(self.too_much("a path that is too long", Bound::Bytes(self.limits.path_bytes as u64)));
        }
        if name.contains(&0) || link.contains(&0) {
            return Err(self.damaged("a path with a NUL character"));
        }
        let size = if header.kind.has_data() { size } else { 0 };
        if size > i64::MAX as u64 {
            return Err(self.damaged("a size that no file has"));
        }
        let kind = match header.kind {
            // Very old archives mark folders only by a trailing slash.
            Kind::File if name.ends_with(b"/") => Kind::Directory,
            kind => kind,
        };
        let entry = Entry { name, link, kind, size, sparse: None };
        if let Some(own) = header.sparse {
            return match own.more {
                true => self.begin_map(Mapped { entry, whole: own.size, parts: own.parts, lines: None }),
                false => self.sparse_file(entry, own.size, own.parts),
            };
        }
        let whole = records.as_ref().and_then(|records| records.size).unwrap_or(size);
        let map = match &records {
            Some(records) => records.map().map_err(|what| self.damaged(what))?,
            None => None,
        };
        match map {
            Some(Map::Here(parts)) => self.sparse_file(entry, whole, parts),
            Some(Map::Before) => {
                self.begin_map(Mapped { entry, whole, parts: Vec::new(), lines: Some(Lines::default()) })
            }
            None => {
                self.state = State::Data { left: size, size };
                Ok(Step::Entry(entry))
            }
        }
    }

    fn count(&mut self) -> Result<(), TarError> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.limits.entries {
            return Err(self.too_much("too many entries", Bound::Count(self.limits.entries)));
        }
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> TarError {
        TarError::Damaged { what, at: self.at }
    }

    fn too_much(&self, what: &'static str, limit: Bound) -> TarError {
        TarError::TooMuch { what, limit, at: self.at }
    }
}

/// True if the bytes start like a tar archive: with a header, or with the zeros of an empty one.
pub(crate) fn looks_like_tar(head: &[u8]) -> bool {
    head.first_chunk::<BLOCK>().is_some_and(|block| block.iter().all(|&byte| byte == 0) || Header::parse(block).is_ok())
}

fn up_to(input: &[u8], most: u64) -> &[u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    input.get(..most).unwrap_or(input)
}

fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn padding(size: u64) -> State {
    match padding_of(size) {
        0 => State::Header,
        left => State::Padding { left },
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
