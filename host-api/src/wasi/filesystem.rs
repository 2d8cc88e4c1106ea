//! `wasi:filesystem` over the sandbox's [`crate::Vfs`]: the preopened folder `/`, and `/data` if there is a persistent
//! folder.

use std::{sync::Arc, time::Duration};

use cofferdam_contract::grants::FOLDER;
use wasmtime::component::Resource;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    Descriptor, DirectoryEntryStream, Failure, MAX_READ,
    bindings::filesystem::{
        preopens,
        types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
            MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
    },
    clocks::datetime,
    file_streams::{FileInput, FileOutput},
};
use crate::{
    sandbox::Sandbox,
    vfs::{
        FsError, Kind,
        handle::{Handle, OpenMode},
        node::Stat,
    },
};

type Fd = Resource<Descriptor>;
type Done<T> = Result<T, Failure>;

impl preopens::Host for Sandbox {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let node = Arc::new(self.vfs.root());
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        let mut folders = vec![(self.push(Descriptor { node, flags })?, "/".to_owned())];
        if let Some(folder) = &self.folder {
            let node = Arc::new(folder.home());
            folders.push((self.push(Descriptor { node, flags })?, FOLDER.to_owned()));
        }
        Ok(folders)
    }
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

fn describe(stat: Stat) -> DescriptorStat {
    DescriptorStat {
        type_: stat.kind.into(),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: Some(datetime(stat.times.accessed)),
        data_modification_timestamp: Some(datetime(stat.times.modified)),
        status_change_timestamp: Some(datetime(stat.times.changed)),
    }
}

fn time(node: &Handle, new: NewTimestamp) -> Result<Option<Duration>, FsError> {
    match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(node.now())),
        NewTimestamp::Timestamp(at) if at.nanoseconds < 1_000_000_000 => {
            Ok(Some(Duration::new(at.seconds, at.nanoseconds)))
        }
        NewTimestamp::Timestamp(_) => Err(FsError::Invalid),
    }
}

impl Sandbox {
    /// The node of a descriptor, cloned out of the table's borrow.
    fn at(&self, fd: &Fd) -> Done<&Handle> {
        Ok(&self.table.get(fd)?.node)
    }

    fn file_of(node: &Arc<Handle>) -> Done<Arc<Handle>> {
        match node.kind()? {
            Kind::File => Ok(Arc::clone(node)),
            _ => Err(FsError::IsFolder.into()),
        }
    }
}

impl types::Host for Sandbox {
    fn convert_error_code(&mut self, failure: Failure) -> wasmtime::Result<ErrorCode> {
        match failure {
            Failure::Guest(error) => Ok(error.into()),
            Failure::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<FsError>().map(|error| (*error).into()))
    }
}

impl types::HostDescriptor for Sandbox {
    fn read_via_stream(&mut self, fd: Fd, position: u64) -> Done<Resource<DynInputStream>> {
        let file = Self::file_of(self.table.get(&fd)?.readable()?)?;
        let stream: DynInputStream = Box::new(FileInput { file, position });
        Ok(self.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: Fd, position: u64) -> Done<Resource<DynOutputStream>> {
        let file = Self::file_of(self.table.get(&fd)?.writable()?)?;
        let stream: DynOutputStream = Box::new(FileOutput { file, position: Some(position) });
        Ok(self.push(stream)?)
    }

    fn append_via_stream(&mut self, fd: Fd) -> Done<Resource<DynOutputStream>> {
        let file = Self::file_of(self.table.get(&fd)?.writable()?)?;
        let stream: DynOutputStream = Box::new(FileOutput { file, position: None });
        Ok(self.push(stream)?)
    }

    fn advise(&mut self, fd: Fd, _: u64, _: u64, _: Advice) -> Done<()> {
        Self::file_of(&self.table.get(&fd)?.node).map(drop)
    }

    fn sync_data(&mut self, fd: Fd) -> Done<()> {
        self.at(&fd).map(drop)
    }

    fn get_flags(&mut self, fd: Fd) -> Done<DescriptorFlags> {
        Ok(self.table.get(&fd)?.flags)
    }

    fn get_type(&mut self, fd: Fd) -> Done<DescriptorType> {
        Ok(self.at(&fd)?.kind()?.into())
    }

    fn set_size(&mut self, fd: Fd, size: u64) -> Done<()> {
        Ok(self.table.get(&fd)?.writable()?.set_len(size)?)
    }

    fn set_times(&mut self, fd: Fd, accessed: NewTimestamp, modified: NewTimestamp) -> Done<()> {
        let node = self.at(&fd)?;
        Ok(node.set_times(time(node, accessed)?, time(node, modified)?)?)
    }

    fn read(&mut self, fd: Fd, len: u64, offset: u64) -> Done<(Vec<u8>, bool)> {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(MAX_READ);
        let bytes = self.table.get(&fd)?.readable()?.read(offset, len)?;
        let end = bytes.len() < len;
        Ok((bytes, end))
    }

    fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> Done<u64> {
        Ok(self.table.get(&fd)?.writable()?.write(Some(offset), &bytes)?.0 as u64)
    }

    fn read_directory(&mut self, fd: Fd) -> Done<Resource<DirectoryEntryStream>> {
        let folder = Arc::clone(self.table.get(&fd)?.readable()?);
        if folder.kind()? != Kind::Folder {
            return Err(FsError::NotFolder.into());
        }
        Ok(self.push(DirectoryEntryStream { folder, last: None })?)
    }

    fn sync(&mut self, fd: Fd) -> Done<()> {
        self.at(&fd).map(drop)
    }

    fn create_directory_at(&mut self, fd: Fd, path: String) -> Done<()> {
        Ok(self.at(&fd)?.create_folder(&path)?)
    }

    fn stat(&mut self, fd: Fd) -> Done<DescriptorStat> {
        Ok(describe(self.at(&fd)?.stat()?))
    }

    fn stat_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> Done<DescriptorStat> {
        Ok(describe(self.at(&fd)?.stat_at(&path, follows(flags))?))
    }

    fn set_times_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Done<()> {
        let node = self.at(&fd)?;
        Ok(node.set_times_at(&path, follows(flags), time(node, accessed)?, time(node, modified)?)?)
    }

    /// Hard links are refused: they would make a file's location, and the account that it is charged to, ambiguous.
    fn link_at(&mut self, fd: Fd, _: PathFlags, _: String, _: Fd, _: String) -> Done<()> {
        self.at(&fd)?;
        Err(FsError::Unsupported.into())
    }

    fn open_at(
        &mut self,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        open: OpenFlags,
        mut flags: DescriptorFlags,
    ) -> Done<Fd> {
        let mode = OpenMode {
            follow: follows(path_flags),
            write: flags.contains(DescriptorFlags::WRITE),
            create: open.contains(OpenFlags::CREATE),
            exclusive: open.contains(OpenFlags::EXCLUSIVE),
            truncate: open.contains(OpenFlags::TRUNCATE),
            folder: open.contains(OpenFlags::DIRECTORY),
        };
        let node = Arc::new(self.at(&fd)?.open(&path, mode)?);
        if !mode.write {
            flags |= DescriptorFlags::READ;
        }
        Ok(self.push(Descriptor { node, flags })?)
    }

    fn readlink_at(&mut self, fd: Fd, path: String) -> Done<String> {
        Ok(self.at(&fd)?.readlink(&path)?)
    }

    fn remove_directory_at(&mut self, fd: Fd, path: String) -> Done<()> {
        Ok(self.at(&fd)?.remove_folder(&path)?)
    }

    fn rename_at(&mut self, fd: Fd, from: String, to_fd: Fd, to: String) -> Done<()> {
        Ok(self.at(&fd)?.rename(&from, self.at(&to_fd)?, &to)?)
    }

    fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> Done<()> {
        Ok(self.at(&fd)?.symlink(&target, &path)?)
    }

    fn unlink_file_at(&mut self, fd: Fd, path: String) -> Done<()> {
        Ok(self.at(&fd)?.unlink(&path)?)
    }

    fn is_same_object(&mut self, one: Fd, other: Fd) -> wasmtime::Result<bool> {
        Ok(self.table.get(&one)?.node.is_same(&self.table.get(&other)?.node))
    }

    fn metadata_hash(&mut self, fd: Fd) -> Done<MetadataHashValue> {
        Ok(MetadataHashValue { lower: self.at(&fd)?.stat()?.serial, upper: 0 })
    }

    fn metadata_hash_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> Done<MetadataHashValue> {
        Ok(MetadataHashValue { lower: self.at(&fd)?.stat_at(&path, follows(flags))?.serial, upper: 0 })
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for Sandbox {
    fn read_directory_entry(&mut self, stream: Resource<DirectoryEntryStream>) -> Done<Option<DirectoryEntry>> {
        let stream = self.table.get_mut(&stream)?;
        let Some((name, kind)) = stream.folder.next_entry(stream.last.as_deref()) else { return Ok(None) };
        stream.last = Some(name.clone());
        Ok(Some(DirectoryEntry { type_: kind.into(), name }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
