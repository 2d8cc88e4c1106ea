//! Files, quotas, paths and archives, as tables.

use std::io::Read;

use super::{
    handle::{Handle, OpenMode},
    *,
};

const QUOTA: Quota = Quota { disk_bytes: 1 << 20, files: 100, open_files: 8 };

fn base() -> Arc<Base> {
    let mut mounts = Mounts::new();
    mounts.add_file("/usr/local/lib/python315.zip", Arc::new(b"zip".to_vec())).unwrap();
    mounts.add_file("/usr/local/lib/python315.zip/matplotlib/mpl-data/rc", Arc::new(b"rc!".to_vec())).unwrap();
    mounts.add_folder("/usr/local/empty").unwrap();
    Arc::new(Base { mounts: Arc::new(mounts), budget: Budget::new(64 << 20), clock: Arc::new(SystemClock) })
}

fn vfs() -> Vfs {
    Vfs::new(base(), QUOTA).unwrap()
}

const READ: OpenMode =
    OpenMode { follow: true, write: false, create: false, exclusive: false, truncate: false, folder: false };
const WRITE: OpenMode = OpenMode { write: true, ..READ };
const CREATE: OpenMode = OpenMode { create: true, ..WRITE };

fn open(vfs: &Vfs, path: &str, mode: OpenMode) -> Result<Handle, FsError> {
    vfs.root().open(path, mode)
}

fn put(vfs: &Vfs, path: &str, bytes: &[u8]) {
    let file = open(vfs, path, CREATE).unwrap();
    assert_eq!(file.write(Some(0), bytes).unwrap().0, bytes.len());
}

fn names(folder: &Handle) -> Vec<String> {
    let mut names = Vec::<String>::new();
    while let Some((name, _)) = folder.next_entry(names.last().map(String::as_str)) {
        names.push(name);
    }
    names
}

/// A tree with a bit of everything, for the tables.
fn furnished() -> Vfs {
    let vfs = vfs();
    let root = vfs.root();
    root.create_folder("home/user/d").unwrap();
    root.create_folder("home/user/d/e").unwrap();
    root.create_folder("home/user/empty/").unwrap();
    put(&vfs, "home/user/f", b"eff");
    put(&vfs, "home/user/d/g", b"gee");
    root.symlink("f", "home/user/to-f").unwrap();
    root.symlink("d", "home/user/to-d").unwrap();
    root.symlink("nowhere", "home/user/dangling").unwrap();
    root.symlink("loop", "home/user/loop").unwrap();
    root.symlink("../../../../../etc/passwd", "home/user/up").unwrap();
    root.symlink("../../usr/local/lib/python315.zip", "home/user/zip").unwrap();
    vfs
}

#[test]
fn paths_under_attack() {
    use FsError::*;
    let vfs = furnished();
    let long = format!("home/user/{}", "x".repeat(256));
    let huge = "home/".repeat(1_000);
    for (path, expected) in [
        ("home/user/f", Ok(3)),
        ("home//user/./f", Ok(3)),
        ("./home/user/d/../f", Ok(3)),
        ("home/user/d/e/../../../user/d/g", Ok(3)),
        ("usr/local/lib/python315.zip", Ok(3)),
        ("usr/local/lib/python315.zip/matplotlib/mpl-data/rc", Ok(3)),
        ("usr/local/lib/python315.zip/matplotlib/nothing", Err(NoEntry)),
        ("usr/local/lib/python315.zip/", Err(NotFolder)),
        ("", Err(NoEntry)),
        (".", Ok(0)),
        ("/", Err(NotPermitted)),
        ("/home/user/f", Err(NotPermitted)),
        ("//home/user/f", Err(NotPermitted)),
        ("..", Err(NotPermitted)),
        ("../home/user/f", Err(NotPermitted)),
        ("home/../../home/user/f", Err(NotPermitted)),
        ("home/user/f/", Err(NotFolder)),
        ("home/user/f/.", Err(NotFolder)),
        ("home/user/f/..", Err(NotFolder)),
        ("home/user/f/x", Err(NotFolder)),
        ("home/user/none", Err(NoEntry)),
        ("home/user/none/../f", Err(NoEntry)),
        ("home/user/F", Err(NoEntry)),
        ("home/user/f\0", Err(Invalid)),
        ("home/user/f\0/../f", Err(Invalid)),
        ("home\\user\\f", Err(NoEntry)),
        ("home/user/to-f", Ok(3)),
        ("home/user/to-f/", Err(NotFolder)),
        ("home/user/to-d/g", Ok(3)),
        ("home/user/to-d/../f", Ok(3)),
        ("home/user/dangling", Err(NoEntry)),
        ("home/user/loop", Err(Loop)),
        ("home/user/loop/x", Err(Loop)),
        ("home/user/up", Err(NotPermitted)),
        ("home/user/up/x", Err(NotPermitted)),
        ("home/user/zip", Ok(3)),
        ("etc/passwd", Err(NoEntry)),
        ("proc/self/environ", Err(NoEntry)),
        (&long, Err(NameTooLong)),
        (&huge, Err(NameTooLong)),
    ] {
        assert_eq!(vfs.root().stat_at(path, true).map(|stat| stat.size), expected, "stat {path:?}");
        if expected.is_err() {
            assert!(open(&vfs, path, READ).is_err(), "open {path:?}");
            assert!(open(&vfs, path, WRITE).is_err(), "open to write {path:?}");
        }
    }
    // From a folder further down, the way up is closed there.
    let folder = open(&vfs, "home/user/d", READ).unwrap();
    assert_eq!(folder.stat_at("../f", true).unwrap_err(), NotPermitted);
    assert_eq!(folder.stat_at("e/../../f", true).unwrap_err(), NotPermitted);
    assert_eq!(folder.stat_at("e/../g", true).unwrap().size, 3);
    // The host's own door opens on /home/user only.
    for path in ["../user/f", "/f", "up", "zip", "loop", "", ".", "d"] {
        assert!(vfs.read_file(path).is_err(), "{path:?}");
    }
    for path in ["../x", "/x", "up", "a/../../x", "x/", "", "d", "f/x", "a\0b"] {
        assert!(vfs.write_file(path, b"x").is_err(), "{path:?}");
    }
}

#[test]
fn nothing_but_the_two_folders_can_be_changed() {
    use FsError::*;
    let vfs = furnished();
    let root = vfs.root();
    for folder in ["", "home/", "usr/", "usr/local/lib/", "usr/local/empty/"] {
        let path = format!("{folder}new");
        assert_eq!(open(&vfs, &path, CREATE).err(), Some(ReadOnly), "{path}");
        assert_eq!(root.create_folder(&path), Err(ReadOnly), "{path}");
        assert_eq!(root.symlink("x", &path), Err(ReadOnly), "{path}");
        assert_eq!(root.rename("home/user/f", &root, &path), Err(ReadOnly), "{path}");
    }
    let zip = "usr/local/lib/python315.zip";
    assert_eq!(open(&vfs, zip, WRITE).err(), Some(ReadOnly));
    assert_eq!(open(&vfs, zip, OpenMode { truncate: true, ..READ }).err(), Some(ReadOnly));
    assert_eq!(open(&vfs, "home/user/zip", WRITE).err(), Some(ReadOnly));
    assert_eq!(open(&vfs, zip, READ).unwrap().write(Some(0), b"x").err(), Some(ReadOnly));
    assert_eq!(open(&vfs, zip, READ).unwrap().set_len(0).err(), Some(ReadOnly));
    assert_eq!(root.unlink(zip), Err(ReadOnly));
    assert_eq!(root.rename(zip, &root, "home/user/z"), Err(ReadOnly));
    assert_eq!(root.set_times_at(zip, true, None, None), Err(ReadOnly));
    for folder in ["usr/local/empty", "home", "tmp", "usr"] {
        assert_eq!(root.remove_folder(folder), Err(ReadOnly), "{folder}");
        assert_eq!(root.rename(folder, &root, "home/user/x"), Err(ReadOnly), "{folder}");
    }
    assert_eq!(root.remove_folder("home/user"), Err(NotEmpty));
    assert_eq!(root.remove_folder("."), Err(ReadOnly));
    assert_eq!(names(&root), ["home", "tmp", "usr"]);
    assert_eq!(open(&vfs, zip, READ).unwrap().read(0, 100).unwrap(), b"zip");
    assert_eq!(open(&vfs, zip, READ).unwrap().read(1, 1).unwrap(), b"i");
    assert_eq!(open(&vfs, zip, READ).unwrap().read(u64::MAX, 9).unwrap(), b"");
}

#[test]
fn opening() {
    use FsError::*;
    let exclusive = OpenMode { exclusive: true, ..CREATE };
    let folder = OpenMode { folder: true, ..READ };
    let nofollow = OpenMode { follow: false, ..READ };
    for (path, mode, expected) in [
        ("home/user/f", exclusive, Err(Exist)),
        ("home/user/to-f", exclusive, Err(Exist)),
        ("home/user/dangling", exclusive, Err(Exist)),
        ("home/user/n", exclusive, Ok(0)),
        ("home/user/dangling", CREATE, Ok(0)),
        ("home/user/to-f", nofollow, Err(Loop)),
        ("home/user/f", nofollow, Ok(3)),
        ("home/user/f", OpenMode { truncate: true, ..WRITE }, Ok(0)),
        ("home/user/f", CREATE, Ok(3)),
        ("home/user/n/", CREATE, Err(IsFolder)),
        ("home/user/none/n", CREATE, Err(NoEntry)),
        ("home/user/f/n", CREATE, Err(NotFolder)),
        ("home/user/f", folder, Err(NotFolder)),
        ("home/user/d", folder, Ok(0)),
        ("home/user/d/", READ, Ok(0)),
        ("home/user/d", WRITE, Err(IsFolder)),
        ("home/user/d", CREATE, Err(IsFolder)),
        ("home/user/x", OpenMode { create: true, ..folder }, Err(Invalid)),
    ] {
        let vfs = furnished();
        let got = open(&vfs, path, mode).and_then(|handle| handle.stat()).map(|stat| stat.size);
        assert_eq!(got, expected, "{path} {mode:?}");
    }
}

#[test]
fn renaming_and_removing() {
    use FsError::*;
    for (from, to, expected) in [
        ("f", "n", Ok(())),
        ("f", "d/n", Ok(())),
        ("f", "d/g", Ok(())),
        ("f", "f", Ok(())),
        ("f", "d", Err(IsFolder)),
        ("f", "empty", Err(IsFolder)),
        ("f", "n/", Err(NotFolder)),
        ("f/", "n", Err(NotFolder)),
        ("f", "none/n", Err(NoEntry)),
        ("none", "n", Err(NoEntry)),
        ("d", "n", Ok(())),
        ("d", "n/", Ok(())),
        ("d", "empty", Ok(())),
        ("empty", "d", Err(NotEmpty)),
        ("d", "f", Err(NotFolder)),
        ("d", "d/x", Err(Invalid)),
        ("d", "d/e/x", Err(Invalid)),
        ("d", "d/e", Err(Invalid)),
        ("d/e", "d", Err(NotEmpty)),
        ("d/e", "e", Ok(())),
        ("to-d", "n", Ok(())),
        ("to-d/", "n", Err(NotFolder)),
        ("to-f", "f", Ok(())),
        (".", "n", Err(Busy)),
        ("d/..", "n", Err(Busy)),
    ] {
        let vfs = furnished();
        let home = open(&vfs, "home/user", READ).unwrap();
        let before = vfs.usage();
        assert_eq!(home.rename(from, &home, to), expected, "{from} -> {to}");
        if expected.is_ok() {
            assert!(home.stat_at(to, false).is_ok() && (from == to || home.stat_at(from, false).is_err()));
        } else {
            assert_eq!(vfs.usage(), before, "{from} -> {to}");
        }
    }
    for (path, unlink, rmdir) in [
        ("f", Ok(()), Err(NotFolder)),
        ("f/", Err(NotFolder), Err(NotFolder)),
        ("d", Err(IsFolder), Err(NotEmpty)),
        ("empty", Err(IsFolder), Ok(())),
        ("empty/", Err(IsFolder), Ok(())),
        ("to-d", Ok(()), Err(NotFolder)),
        ("to-d/", Err(NotFolder), Err(NotFolder)),
        ("to-d/g", Ok(()), Err(NotFolder)),
        ("loop", Ok(()), Err(NotFolder)),
        ("none", Err(NoEntry), Err(NoEntry)),
        ("empty/.", Err(IsFolder), Err(Busy)),
    ] {
        let vfs = furnished();
        let home = open(&vfs, "home/user", READ).unwrap();
        assert_eq!(home.remove_folder(path), rmdir, "rmdir {path}");
        let vfs = furnished();
        let home = open(&vfs, "home/user", READ).unwrap();
        assert_eq!(home.unlink(path), unlink, "unlink {path}");
    }
}

#[test]
fn contents_are_what_was_written() {
    let vfs = Vfs::new(base(), Quota { disk_bytes: 8 << 20, ..QUOTA }).unwrap();
    let file = open(&vfs, "tmp/x", CREATE).unwrap();
    let mut model = Vec::<u8>::new();
    let mut state = 7_u64;
    let mut forks = Vec::new();
    for step in 0..600_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) % 300_000;
        let len = ((state >> 20) % 90_000) as usize;
        match state >> 61 {
            0 => {
                file.set_len(at).unwrap();
                model.resize(at as usize, 0);
            }
            1 => {
                assert_eq!(file.write(None, &vec![step as u8; len]).unwrap(), (len, model.len() as u64));
                model.resize(model.len() + len, step as u8);
            }
            2 => forks.push((vfs.fork(QUOTA_BIG).unwrap(), model.clone())),
            _ if model.len() > 4_000_000 => {}
            _ => {
                file.write(Some(at), &vec![step as u8; len]).unwrap();
                if len > 0 {
                    model.resize(model.len().max(at as usize + len), 0);
                    model[at as usize..at as usize + len].fill(step as u8);
                }
            }
        }
        if model.len() > 2_000_000 {
            file.set_len(10).unwrap();
            model.truncate(10);
        }
        forks.truncate(12);
        assert_eq!(vfs.usage().bytes, model.len() as u64);
        let from = model.len().min(at as usize);
        assert_eq!(file.read(at, len).unwrap(), model[from..model.len().min(from + len)]);
    }
    assert_eq!(file.read(0, usize::MAX).unwrap(), model);
    assert!(forks.len() > 3);
    for (fork, model) in forks {
        assert_eq!(open(&fork, "tmp/x", READ).unwrap().read(0, usize::MAX).unwrap(), model);
    }
}

const QUOTA_BIG: Quota = Quota { disk_bytes: 1 << 40, files: 1_000_000, open_files: 1_000_000 };

#[test]
fn quotas_refuse_and_say_which() {
    let vfs = vfs();
    let file = open(&vfs, "tmp/x", CREATE).unwrap();
    for refused in
        [file.set_len(1 << 40), file.set_len(QUOTA.disk_bytes + 1), file.write(Some(1 << 40), b"x").map(drop)]
    {
        assert_eq!(refused, Err(FsError::NoSpace));
        assert_eq!(vfs.exceeded(), Some(LimitName::DiskBytes));
        vfs.mark();
        assert_eq!((vfs.exceeded(), vfs.usage().bytes), (None, 0));
    }
    assert_eq!(file.write(Some(u64::MAX), b"x").unwrap_err(), FsError::FileTooLarge);
    file.set_len(QUOTA.disk_bytes).unwrap();
    assert_eq!(vfs.usage().bytes, QUOTA.disk_bytes, "a hole counts");
    assert_eq!(vfs.write_file("y", b"y").unwrap_err(), FsError::NoSpace);
    assert_eq!(vfs.list(), [], "no empty file stays behind");
    assert_eq!(vfs.root().symlink("target", "tmp/l").unwrap_err(), FsError::NoSpace);
    // Removed but open: still there, still counted.
    vfs.root().unlink("tmp/x").unwrap();
    file.write(Some(5), b"alive").unwrap();
    assert_eq!((file.read(4, 7).unwrap(), file.stat().unwrap().links), (b"\0alive\0".to_vec(), 0));
    assert_eq!(vfs.usage().bytes, QUOTA.disk_bytes);
    assert_eq!(vfs.fork(QUOTA).unwrap().usage(), DiskUsage { bytes: 0, files: 0, open: 0 });
    drop(file);
    assert_eq!(vfs.usage(), DiskUsage { bytes: 0, files: 0, open: 0 });

    vfs.mark();
    for n in 0..QUOTA.files {
        vfs.root().create_folder(&format!("tmp/{n}")).unwrap();
    }
    assert_eq!(vfs.root().create_folder("tmp/more"), Err(FsError::Quota));
    assert_eq!(vfs.exceeded(), Some(LimitName::Files));
    vfs.root().remove_folder("tmp/5").unwrap();
    vfs.root().create_folder("tmp/more").unwrap();

    vfs.mark();
    let open_files: Vec<_> =
        (0..QUOTA.open_files).map(|n| open(&vfs, &format!("tmp/{}", n + 6), READ).unwrap()).collect();
    assert_eq!(open(&vfs, "tmp/50", READ).err(), Some(FsError::TooManyOpen));
    assert_eq!(vfs.exceeded(), Some(LimitName::OpenFiles));
    drop(open_files);
    open(&vfs, "tmp/50", READ).unwrap();
}

#[test]
fn depth_is_bounded() {
    let vfs = Vfs::new(base(), QUOTA_BIG).unwrap();
    let root = vfs.root();
    let mut path = "tmp".to_owned();
    for _ in 0..MAX_DEPTH {
        path += "/d";
        root.create_folder(&path).unwrap();
    }
    assert_eq!(root.create_folder(&(path.clone() + "/d")), Err(FsError::NameTooLong));
    root.create_folder("home/user/x").unwrap();
    assert_eq!(root.rename("tmp/d", &root, "home/user/x/d"), Err(FsError::NameTooLong));
    root.rename("tmp/d", &root, "home/user/d").unwrap();
    let mut archive = Vec::new();
    vfs.to_archive(&mut archive).unwrap();
    Vfs::from_archive(base(), QUOTA_BIG, &archive[..]).unwrap();
    vfs.remove("d").unwrap();
    assert_eq!(vfs.usage().files, 1);
}

#[test]
fn everything_is_given_back() {
    let base = base();
    let vfs = Vfs::new(base.clone(), QUOTA_BIG).unwrap();
    let empty = base.budget.used();
    put(&vfs, "tmp/big", &vec![1; 10 << 20]);
    let used = base.budget.used();
    assert!(used >= (10 << 20) && used < (11 << 20), "{used}");
    let forks: Vec<_> = (0..50).map(|_| vfs.fork(QUOTA_BIG).unwrap()).collect();
    assert!(base.budget.used() < used + (1 << 20), "forks share");
    for fork in &forks {
        open(fork, "tmp/big", WRITE).unwrap().write(Some(5 << 20), b"mine").unwrap();
    }
    assert!(base.budget.used() >= used + 50 * (64 << 10));
    // 64 MiB in all: a file of the size of what is left cannot be filled.
    let hole = open(&vfs, "tmp/hole", CREATE).unwrap();
    hole.set_len(1 << 30).unwrap();
    let mut at = 0;
    let error = loop {
        match hole.write(Some(at), &[1; 1 << 20]) {
            Ok((written, _)) => at += written as u64,
            Err(error) => break error,
        }
    };
    assert_eq!((error, vfs.exceeded()), (FsError::NoSpace, Some(LimitName::DiskBytes)));
    assert!(base.budget.used() <= base.budget.cap());
    drop(forks);
    vfs.root().unlink("tmp/hole").unwrap();
    assert!(base.budget.used() > used);
    drop(hole);
    vfs.root().unlink("tmp/big").unwrap();
    assert_eq!(base.budget.used(), empty);
    drop(vfs);
    assert_eq!(base.budget.used(), 0);
    let tight = Arc::new(Base { mounts: base.mounts.clone(), budget: Budget::new(100), clock: base.clock.clone() });
    assert_eq!(Vfs::new(tight, QUOTA).err(), Some(FsError::NoSpace));
}

#[test]
fn changes_are_told() {
    let vfs = furnished();
    vfs.write_file("in/put.csv", b"1,2").unwrap();
    vfs.mark();
    let changed = |vfs: &Vfs| -> Vec<String> {
        vfs.list().into_iter().filter(|file| file.changed).map(|file| file.path).collect()
    };
    assert!(changed(&vfs).is_empty());
    assert_eq!(vfs.list().iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["d/g", "f", "in/put.csv"]);
    put(&vfs, "home/user/out.txt", b"new");
    open(&vfs, "home/user/f", WRITE).unwrap().write(None, b"!").unwrap();
    open(&vfs, "home/user/in/put.csv", READ).unwrap().read(0, 3).unwrap();
    assert_eq!(changed(&vfs), ["f", "out.txt"]);
    let fork = vfs.fork(QUOTA).unwrap();
    vfs.root().rename("home/user/in", &vfs.root(), "home/user/moved").unwrap();
    assert_eq!(changed(&vfs), ["f", "moved/put.csv", "out.txt"]);
    assert_eq!(vfs.file_size("moved/put.csv").unwrap(), 3);
    assert_eq!(fork.read_file("in/put.csv").unwrap(), b"1,2");
    vfs.remove("moved").unwrap();
    vfs.mark();
    assert!(changed(&vfs).is_empty());
}

#[test]
fn a_folder_is_read_once_whatever_happens_meanwhile() {
    let vfs = Vfs::new(base(), QUOTA_BIG).unwrap();
    for n in 0..200 {
        put(&vfs, &format!("tmp/{n:03}"), b"");
    }
    let folder = open(&vfs, "tmp", READ).unwrap();
    let mut seen = Vec::<String>::new();
    while let Some((name, _)) = folder.next_entry(seen.last().map(String::as_str)) {
        vfs.root().unlink(&format!("tmp/{name}")).unwrap();
        seen.push(name);
    }
    assert_eq!(seen.len(), 200);
    assert!(names(&folder).is_empty());
}

#[test]
fn archives_bring_everything_back() {
    let vfs = furnished();
    let file = open(&vfs, "home/user/sparse", CREATE).unwrap();
    file.set_len(300_000).unwrap();
    file.write(Some(200_000), b"middle").unwrap();
    file.set_times(Some(Duration::from_nanos(5)), Some(Duration::from_nanos(7))).unwrap();
    let mut archive = Vec::new();
    vfs.to_archive(&mut archive).unwrap();
    let mut tail = &[&archive[..], b"tail"].concat()[..];
    let back = Vfs::from_archive(base(), QUOTA, &mut tail).unwrap();
    assert_eq!(tail, b"tail");
    let mut again = Vec::new();
    back.to_archive(&mut again).unwrap();
    assert_eq!(archive, again);
    assert_eq!(back.usage(), DiskUsage { open: 0, ..vfs.usage() });
    assert_eq!(back.read_file("sparse").unwrap(), vfs.read_file("sparse").unwrap());
    let stat = back.root().stat_at("home/user/sparse", true).unwrap();
    assert_eq!((stat.times.accessed.as_nanos(), stat.times.modified.as_nanos()), (5, 7));

    // Cut off anywhere, or with any byte another: an error or a file system, never a panic, and nothing kept.
    let base = base();
    for cut in 0..archive.len() {
        assert!(Vfs::from_archive(base.clone(), QUOTA, &archive[..cut]).is_err(), "{cut}");
    }
    for at in 0..archive.len() {
        for value in [0, 1, 0x7f, 0xff, archive[at] ^ 0x80] {
            let mut bad = archive.clone();
            bad[at] = value;
            let got = Vfs::from_archive(base.clone(), QUOTA, &bad[..]);
            assert!(got.is_err() || at >= 7 || value == archive[at]);
            assert!(base.budget.used() < 2 << 20, "{at}");
        }
    }
    assert_eq!(base.budget.used(), 0);
    let over = Vfs::from_archive(base, Quota { disk_bytes: 1_000, ..QUOTA }, &archive[..]);
    assert!(matches!(over, Err(ArchiveError::Fs(FsError::NoSpace))));
}

#[test]
fn hostile_archives() {
    let entry = |kind: u8, name: &[u8]| {
        let mut bytes = vec![kind];
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name);
        bytes.extend([0; 24]);
        bytes
    };
    let file = |name: &[u8], size: u64, piece: u32| {
        [entry(2, name), size.to_le_bytes().to_vec(), piece.to_le_bytes().to_vec()].concat()
    };
    let deep: Vec<u8> = (0..80).flat_map(|_| entry(1, b"d")).collect();
    for (what, body) in [
        ("no name", entry(1, b"")),
        ("dot", entry(1, b".")),
        ("dot dot", entry(1, b"..")),
        ("slash", entry(1, b"a/b")),
        ("nul", entry(1, b"a\0b")),
        ("not UTF-8", entry(1, b"\xff")),
        ("long name", entry(1, &[b'x'; 256])),
        ("twice", [entry(1, b"a"), vec![0], entry(1, b"a"), vec![0]].concat()),
        ("deep", deep),
        ("huge file", file(b"f", u64::MAX, 0)),
        ("more than the quota", file(b"f", QUOTA.disk_bytes + 1, 0)),
        ("piece over its size", file(b"f", 3, 4)),
        ("piece over its place", file(b"f", 200_000, 65_537)),
        ("lying piece", file(b"f", 200_000, 65_536)),
        ("kind", entry(9, b"x")),
    ] {
        let archive = [b"CFDVFS\x01", &body[..]].concat();
        // An endless tail: none of these may be read on for ever.
        let base = base();
        let mut tail = std::io::repeat(0xaa).take(1 << 20);
        let got = Vfs::from_archive(base.clone(), QUOTA, archive.chain(&mut tail));
        assert!(got.is_err(), "{what}");
        assert!(tail.limit() > 0, "{what}");
        assert_eq!(base.budget.used(), 0, "{what}");
    }
}

#[test]
fn mounts_are_plain_paths_outside_the_writable_folders() {
    use FsError::*;
    let bytes = || -> MountBytes { Arc::new(Vec::new()) };
    for (path, expected) in [
        ("/usr/x", Ok(())),
        ("/usr/x/inside/y", Ok(())),
        ("usr/x", Err(Invalid)),
        ("/", Err(Invalid)),
        ("/usr/../x", Err(Invalid)),
        ("/home/user", Err(ReadOnly)),
        ("/home/user/x", Err(ReadOnly)),
        ("/tmp/x", Err(ReadOnly)),
        ("/home/other", Ok(())),
    ] {
        assert_eq!(Mounts::new().add_file(path, bytes()), expected, "{path}");
    }
    let mut mounts = Mounts::new();
    mounts.add_file("/a", bytes()).unwrap();
    assert_eq!(mounts.add_file("/a", bytes()), Err(Exist));
}
