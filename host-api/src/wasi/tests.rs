//! The host functions as a guest sees them: called as the linker calls them, and from a component.

mod component;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cofferdam_contract::LimitName;
use wasmtime::component::Resource;
use wasmtime_wasi_io::streams::StreamError;

use super::{
    Descriptor, Failure,
    bindings::{
        cli::{environment, exit, stdin, stdout},
        clocks::{monotonic_clock, wall_clock},
        filesystem::{
            preopens,
            types::{
                DescriptorFlags, ErrorCode, Host as _, HostDescriptor, HostDirectoryEntryStream, OpenFlags, PathFlags,
            },
        },
        io::{
            poll::{self, HostPollable},
            streams::{HostInputStream, HostOutputStream},
        },
        random::random,
    },
};
use crate::{
    Base, Budget, Exit, FsError, Interrupt, Interrupted, Mounts, Quota, Sandbox, Stdio, Stop, SystemClock, Vfs,
};

const QUOTA: Quota = Quota { disk_bytes: 1 << 20, files: 100, open_files: 16 };

pub(crate) fn base() -> Arc<Base> {
    Arc::new(Base { mounts: Arc::new(Mounts::new()), budget: Budget::new(1 << 30), clock: Arc::new(SystemClock) })
}

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(Vfs::new(base(), QUOTA).unwrap())
}

fn root(sandbox: &mut Sandbox) -> Resource<Descriptor> {
    let mut folders = preopens::Host::get_directories(sandbox).unwrap();
    assert_eq!((folders.len(), folders[0].1.as_str()), (1, "/"));
    folders.remove(0).0
}

fn open(sandbox: &mut Sandbox, root: &Resource<Descriptor>, path: &str) -> Result<Resource<Descriptor>, Failure> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    sandbox.open_at(again(root), PathFlags::SYMLINK_FOLLOW, path.to_owned(), OpenFlags::CREATE, flags)
}

/// A second handle to the same resource, as a call borrows it.
fn again<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

#[test]
fn files_through_streams() {
    let mut sandbox = sandbox();
    let root = root(&mut sandbox);
    let file = open(&mut sandbox, &root, "home/user/x").unwrap();
    let out = sandbox.append_via_stream(again(&file)).unwrap();
    for n in 0..10_u8 {
        sandbox.blocking_write_and_flush(again(&out), vec![n; 4_096]).unwrap();
    }
    sandbox.blocking_write_zeroes_and_flush(again(&out), 100).unwrap();
    let at = sandbox.write_via_stream(again(&file), 4_095).unwrap();
    assert_eq!(sandbox.check_write(again(&at)).unwrap(), 64 << 10);
    sandbox.blocking_write_and_flush(again(&at), b"ab".to_vec()).unwrap();
    sandbox.blocking_write_and_flush(again(&at), b"cd".to_vec()).unwrap();
    let input = sandbox.read_via_stream(again(&file), 4_094).unwrap();
    assert_eq!(sandbox.blocking_read(again(&input), 6).unwrap(), b"\0abcd\x01");
    let rest = sandbox.blocking_read(again(&input), u64::MAX).unwrap();
    assert_eq!(rest.len(), 40_960 + 100 - 4_100);
    assert!(matches!(sandbox.blocking_read(again(&input), 10), Err(StreamError::Closed)));
    assert_eq!(sandbox.stat(again(&file)).unwrap().size, 41_060);
    assert_eq!(HostDescriptor::read(&mut sandbox, again(&file), 10, 41_055).unwrap(), (vec![0; 5], true));
    // Past the quota: an error code for the guest, and a limit's name for the runner.
    let far = sandbox.write_via_stream(again(&file), 1 << 40).unwrap();
    let Err(StreamError::LastOperationFailed(error)) = sandbox.blocking_write_and_flush(far, vec![1]) else { panic!() };
    let error = sandbox.push(error).unwrap();
    assert_eq!(sandbox.filesystem_error_code(error).unwrap(), Some(ErrorCode::InsufficientSpace));
    assert_eq!(sandbox.vfs().exceeded(), Some(LimitName::DiskBytes));
    // The streams keep the file open without the descriptor.
    HostDescriptor::drop(&mut sandbox, file).unwrap();
    assert_eq!(sandbox.vfs().usage().open, 1);
    for stream in [out, at] {
        HostOutputStream::drop(&mut sandbox, stream).unwrap();
    }
    HostInputStream::drop(&mut sandbox, input).unwrap();
}

#[test]
fn modes_are_kept() {
    let mut sandbox = sandbox();
    let root = root(&mut sandbox);
    sandbox.vfs().write_file("f", b"text").unwrap();
    let at = |sandbox: &mut Sandbox, flags| {
        sandbox.open_at(again(&root), PathFlags::empty(), "home/user/f".to_owned(), OpenFlags::empty(), flags).unwrap()
    };
    let reader = at(&mut sandbox, DescriptorFlags::READ);
    let writer = at(&mut sandbox, DescriptorFlags::WRITE);
    let bad = |result: Result<(), Failure>| assert!(matches!(result, Err(Failure::Guest(FsError::BadDescriptor))));
    bad(HostDescriptor::write(&mut sandbox, again(&reader), vec![1], 0).map(drop));
    bad(sandbox.set_size(again(&reader), 0));
    bad(sandbox.write_via_stream(again(&reader), 0).map(drop));
    bad(sandbox.append_via_stream(again(&reader)).map(drop));
    bad(HostDescriptor::read(&mut sandbox, again(&writer), 1, 0).map(drop));
    bad(sandbox.read_via_stream(again(&writer), 0).map(drop));
    let (one, other) = (again(&reader), again(&writer));
    assert!(sandbox.is_same_object(one, other).unwrap());
    let path = "home/user/f".to_owned();
    let hash = sandbox.metadata_hash_at(again(&root), PathFlags::empty(), path).unwrap();
    assert_eq!(sandbox.metadata_hash(again(&reader)).unwrap().lower, hash.lower);
    assert_ne!(sandbox.metadata_hash(again(&root)).unwrap().lower, hash.lower);
    let entries = sandbox.read_directory(again(&root)).unwrap();
    let mut names = Vec::new();
    while let Some(entry) = sandbox.read_directory_entry(again(&entries)).unwrap() {
        names.push(entry.name);
    }
    assert_eq!(names, ["home", "tmp"]);
}

#[test]
fn open_files_and_resources_are_bounded() {
    let mut sandbox = sandbox();
    let root = root(&mut sandbox);
    let mut files: Vec<_> =
        (0..QUOTA.open_files).map(|n| open(&mut sandbox, &root, &format!("tmp/{n}")).unwrap()).collect();
    assert!(matches!(open(&mut sandbox, &root, "tmp/x"), Err(Failure::Guest(FsError::TooManyOpen))));
    assert_eq!(sandbox.vfs().exceeded(), Some(LimitName::OpenFiles));
    HostDescriptor::drop(&mut sandbox, files.pop().unwrap()).unwrap();
    open(&mut sandbox, &root, "tmp/x").unwrap();
    let stopped = loop {
        if let Err(error) = monotonic_clock::Host::subscribe_duration(&mut sandbox, 1) {
            break error;
        }
    };
    assert_eq!(stopped.downcast_ref(), Some(&Stop(LimitName::HostMemory)));
    let stopped = random::Host::get_random_bytes(&mut sandbox, 1 << 40).unwrap_err();
    assert_eq!(stopped.downcast_ref(), Some(&Stop(LimitName::HostMemory)));
}

#[test]
fn output_goes_to_the_sink_of_the_moment() {
    let mut sandbox = sandbox();
    let out = stdout::Host::get_stdout(&mut sandbox).unwrap();
    sandbox.blocking_write_and_flush(again(&out), b"lost".to_vec()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for run in [b"one", b"two"] {
        let theirs = Arc::clone(&seen);
        sandbox.set_output(Box::new(move |stream: Stdio, bytes: &[u8]| {
            let mut seen = theirs.lock().unwrap();
            seen.push((stream, bytes.to_vec()));
            if seen.len() > 2 { Err(Stop(LimitName::OutputBytes)) } else { Ok(()) }
        }));
        sandbox.blocking_write_and_flush(again(&out), run.to_vec()).unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [(Stdio::Stdout, b"one".to_vec()), (Stdio::Stdout, b"two".to_vec())]);
    let Err(StreamError::Trap(error)) = sandbox.blocking_write_and_flush(out, vec![b'!']) else { panic!() };
    assert_eq!(error.downcast_ref(), Some(&Stop(LimitName::OutputBytes)));
    let input = stdin::Host::get_stdin(&mut sandbox).unwrap();
    assert!(matches!(sandbox.blocking_read(again(&input), 5), Err(StreamError::Closed)));
    sandbox.set_stdin(Bytes::from_static(b"line"));
    assert_eq!(sandbox.blocking_read(again(&input), 3).unwrap(), b"lin");
    assert_eq!(sandbox.blocking_read(again(&input), 3).unwrap(), b"e");
    assert!(matches!(sandbox.blocking_read(input, 3), Err(StreamError::Closed)));
}

#[test]
fn sleeping_is_bounded_by_the_run() {
    for (deadline, expected) in [(Some(30), Interrupted::Deadline), (None, Interrupted::Cancelled)] {
        let mut sandbox = sandbox();
        sandbox.set_interrupt(Interrupt::new(deadline.map(|ms| Instant::now() + Duration::from_millis(ms))));
        let cancel = sandbox.interrupt().clone();
        let canceller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            cancel.cancel();
        });
        let never = monotonic_clock::Host::subscribe_duration(&mut sandbox, u64::MAX).unwrap();
        let later = monotonic_clock::Host::subscribe_instant(&mut sandbox, 60_000_000_000).unwrap();
        let soon = monotonic_clock::Host::subscribe_duration(&mut sandbox, 1_000_000).unwrap();
        let list = vec![again(&never), again(&soon), again(&later), again(&soon)];
        assert_eq!(poll::Host::poll(&mut sandbox, list).unwrap(), [1, 3]);
        assert!(sandbox.ready(again(&soon)).unwrap() && !sandbox.ready(again(&later)).unwrap());
        let started = Instant::now();
        let list = vec![again(&never), again(&later)];
        let error = poll::Host::poll(&mut sandbox, list).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&expected));
        assert!(started.elapsed() < Duration::from_millis(120));
        canceller.join().unwrap();
        assert!(sandbox.block(again(&never)).is_err());
        let list = (0..257).map(|_| again(&soon)).collect();
        let error = poll::Host::poll(&mut sandbox, list).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Stop(LimitName::HostMemory)));
        for pollable in [never, later, soon] {
            HostPollable::drop(&mut sandbox, pollable).unwrap();
        }
    }
}

#[test]
fn clocks_environment_exit() {
    let mut sandbox = sandbox();
    assert!(monotonic_clock::Host::now(&mut sandbox).unwrap() < 1_000_000_000);
    sandbox.set_uptime(Duration::from_secs(100));
    let now = monotonic_clock::Host::now(&mut sandbox).unwrap();
    assert!(now >= 100_000_000_000 && now.is_multiple_of(1_000));
    assert!(wall_clock::Host::now(&mut sandbox).unwrap().seconds > 1_700_000_000);
    assert_eq!(environment::Host::get_environment(&mut sandbox).unwrap(), []);
    sandbox.set_env(vec![("A".to_owned(), "b".to_owned())]);
    sandbox.set_args(vec!["python".to_owned()]);
    assert_eq!(environment::Host::get_environment(&mut sandbox).unwrap().len(), 1);
    assert_eq!(environment::Host::get_arguments(&mut sandbox).unwrap(), ["python"]);
    for (error, code) in [
        (exit::Host::exit(&mut sandbox, Ok(())), 0),
        (exit::Host::exit(&mut sandbox, Err(())), 1),
        (exit::Host::exit_with_code(&mut sandbox, 42), 42),
    ] {
        assert_eq!(error.unwrap_err().downcast_ref(), Some(&Exit(code)));
    }
}

#[test]
fn a_sandbox_is_made_in_microseconds() {
    let base = base();
    let started = Instant::now();
    for _ in 0..10_000 {
        let mut sandbox = Sandbox::new(Vfs::new(base.clone(), QUOTA).unwrap());
        sandbox.set_stdin(Bytes::from_static(b"x"));
        sandbox.set_output(Box::new(|_: Stdio, _: &[u8]| Ok(())));
        sandbox.set_interrupt(Interrupt::new(Some(started)));
        sandbox.vfs().mark();
    }
    let each = started.elapsed() / 10_000;
    println!("a sandbox made and dropped: {each:?}");
    assert!(each < Duration::from_micros(20), "{each:?}");
}

#[test]
fn a_folder_that_lasts_is_a_second_root() {
    let (mut sandbox, folder) = (sandbox(), Vfs::new(base(), Quota { disk_bytes: 10, ..QUOTA }).unwrap());
    folder.write_file("kept", b"before").unwrap();
    sandbox.set_folder(folder);
    let mut folders = preopens::Host::get_directories(&mut sandbox).unwrap();
    assert_eq!(folders.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["/", "/data"]);
    let (data, root) = (folders.remove(1).0, folders.remove(0).0);
    let kept = open(&mut sandbox, &data, "kept").unwrap();
    assert_eq!(HostDescriptor::read(&mut sandbox, again(&kept), 100, 0).unwrap().0, b"before");
    assert!(
        matches!(
            HostDescriptor::write(&mut sandbox, again(&kept), vec![0; 11], 0),
            Err(Failure::Guest(FsError::NoSpace))
        ),
        "its own quota"
    );
    HostDescriptor::write(&mut sandbox, kept, b"after!".to_vec(), 0).unwrap();
    open(&mut sandbox, &root, "home/user/scratch").unwrap();
    let across = sandbox.rename_at(again(&root), "home/user/scratch".to_owned(), again(&data), "x".to_owned());
    assert!(matches!(across, Err(Failure::Guest(FsError::CrossDevice))));
    assert!(matches!(open(&mut sandbox, &data, "../tmp/x"), Err(Failure::Guest(FsError::NotPermitted))));
    assert_eq!(sandbox.folder().unwrap().read_file("kept").unwrap(), b"after!");
}
