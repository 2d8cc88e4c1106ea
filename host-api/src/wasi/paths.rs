//! Calls that take a path, linked by hand over the generated ones. Those would copy paths of any length and trap on
//! invalid UTF-8 (Python's `os.fsencode` makes such paths). Here the guest gets an error code.

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower, Resource, WasmStr},
};

use super::{
    Descriptor, Failure,
    bindings::filesystem::types::{
        DescriptorFlags, DescriptorStat, ErrorCode, Host, HostDescriptor, MetadataHashValue, NewTimestamp, OpenFlags,
        PathFlags,
    },
};
use crate::{
    sandbox::{Sandbox, SandboxView},
    vfs::{FsError, PATH_BYTES},
};

type Fd = Resource<Descriptor>;
type Reply<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

fn text<T: 'static>(path: &WasmStr, store: &StoreContextMut<'_, T>) -> Result<String, FsError> {
    // The bounds were checked when it was lifted, so only the encoding can be wrong.
    match path.to_str(store) {
        Ok(path) if path.len() > PATH_BYTES => Err(FsError::NameTooLong),
        Ok(path) => Ok(path.into_owned()),
        Err(_) => Err(FsError::Illegal),
    }
}

fn reply<T>(sandbox: &mut Sandbox, result: Result<T, Failure>) -> Reply<T>
where
    T: ComponentType + Lift + Lower,
{
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(failure) => Ok((Err(sandbox.convert_error_code(failure)?),)),
    }
}

pub(crate) fn add_to_linker<T: SandboxView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let linked = link(linker);
    linker.allow_shadowing(false);
    linked
}

fn link<T: SandboxView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    // `paths` names the path parameters. They arrive as `String`s.
    macro_rules! method {
        ($name:literal, $method:ident -> $answer:ty, ($($arg:ident: $type:ty),*), paths: $($path:ident),*) => {
            types.func_wrap(
                concat!("[method]descriptor.", $name),
                |mut store: StoreContextMut<'_, T>, ($($arg,)*): ($($type,)*)| -> Reply<$answer> {
                    $(let $path = text(&$path, &store);)*
                    let sandbox = store.data_mut().sandbox();
                    let result = (|| {
                        $(let $path = $path?;)*
                        HostDescriptor::$method(sandbox, $($arg),*)
                    })();
                    reply(sandbox, result)
                },
            )?;
        };
    }
    method!("create-directory-at", create_directory_at -> (), (fd: Fd, path: WasmStr), paths: path);
    method!("stat-at", stat_at -> DescriptorStat, (fd: Fd, flags: PathFlags, path: WasmStr), paths: path);
    method!("set-times-at", set_times_at -> (),
        (fd: Fd, flags: PathFlags, path: WasmStr, accessed: NewTimestamp, modified: NewTimestamp), paths: path);
    method!("link-at", link_at -> (),
        (fd: Fd, flags: PathFlags, from: WasmStr, to_fd: Fd, to: WasmStr), paths: from, to);
    method!("open-at", open_at -> Fd,
        (fd: Fd, path_flags: PathFlags, path: WasmStr, open: OpenFlags, flags: DescriptorFlags), paths: path);
    method!("readlink-at", readlink_at -> String, (fd: Fd, path: WasmStr), paths: path);
    method!("remove-directory-at", remove_directory_at -> (), (fd: Fd, path: WasmStr), paths: path);
    method!("rename-at", rename_at -> (), (fd: Fd, from: WasmStr, to_fd: Fd, to: WasmStr), paths: from, to);
    method!("symlink-at", symlink_at -> (), (fd: Fd, target: WasmStr, path: WasmStr), paths: target, path);
    method!("unlink-file-at", unlink_file_at -> (), (fd: Fd, path: WasmStr), paths: path);
    method!("metadata-hash-at", metadata_hash_at -> MetadataHashValue,
        (fd: Fd, flags: PathFlags, path: WasmStr), paths: path);
    Ok(())
}
