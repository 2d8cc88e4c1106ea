//! Tests of files and paths, as tables.

mod archives;
mod quotas;

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

/// A tree with a bit of everything.
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
    // A handle on a deeper folder cannot go up from there.
    let folder = open(&vfs, "home/user/d", READ).unwrap();
    assert_eq!(folder.stat_at("../f", true).unwrap_err(), NotPermitted);
    assert_eq!(folder.stat_at("e/../../f", true).unwrap_err(), NotPermitted);
    assert_eq!(folder.stat_at("e/../g", true).unwrap().size, 3);
    // The host's own access is limited to /home/user.
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
    assert_eq!(vfs.read_file("moved/put.csv").unwrap(), b"1,2");
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

#[test]
fn what_is_read_only_cannot_be_changed_and_changes_are_counted() {
    let vfs = furnished();
    let before = vfs.changes();
    assert_eq!(open(&vfs, "home/user/f", READ).unwrap().read(0, 9).unwrap(), b"eff");
    assert!(names(&vfs.root()).len() > 1 && vfs.root().stat_at("home/user/f", true).is_ok());
    assert_eq!(vfs.changes(), before, "reading changes nothing");
    put(&vfs, "home/user/f", b"EFF");
    assert_ne!(vfs.changes(), before);
    vfs.set_read_only();
    let (before, root) = (vfs.changes(), vfs.root());
    let read_only = |got: Result<(), FsError>| assert_eq!(got, Err(FsError::ReadOnly));
    read_only(open(&vfs, "home/user/f", WRITE).map(drop));
    read_only(open(&vfs, "home/user/f", OpenMode { truncate: true, ..READ }).map(drop));
    read_only(open(&vfs, "home/user/new", CREATE).map(drop));
    read_only(root.create_folder("home/user/new"));
    read_only(root.symlink("f", "home/user/new"));
    read_only(root.unlink("home/user/f"));
    read_only(root.remove_folder("home/user/empty"));
    read_only(root.rename("home/user/f", &root, "home/user/g"));
    read_only(root.rename("home/user/f", &root, "home/user/to-f"));
    read_only(root.set_times_at("home/user/f", true, None, None));
    read_only(vfs.write_file("f", b"x"));
    read_only(vfs.remove("f"));
    let file = open(&vfs, "home/user/f", READ).unwrap();
    read_only(file.write(Some(0), b"x").map(drop));
    read_only(file.set_len(0));
    assert_eq!(file.read(0, 9).unwrap(), b"EFF");
    drop(file);
    assert_eq!((vfs.changes(), vfs.usage().open), (before, 0));
}

#[test]
fn a_folder_as_a_root_is_not_left() {
    let vfs = furnished();
    let home = vfs.home();
    assert_eq!(home.open("f", READ).unwrap().read(0, 9).unwrap(), b"eff");
    for path in ["..", "../user/f", "d/../../user/f", "/home/user/f", "up"] {
        assert_eq!(home.open(path, READ).map(drop), Err(FsError::NotPermitted), "{path}");
    }
    let other = furnished();
    assert_eq!(home.rename("f", &other.home(), "g"), Err(FsError::CrossDevice));
}
