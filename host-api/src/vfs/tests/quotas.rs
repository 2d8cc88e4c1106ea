//! Limits: their refusals and messages, and that everything is returned.

use super::*;

#[test]
fn quotas_refuse_and_say_which() {
    let vfs = vfs();
    let file = open(&vfs, "tmp/x", CREATE).unwrap();
    let attempts: [&dyn Fn() -> Result<(), FsError>; 3] =
        [&|| file.set_len(1 << 40), &|| file.set_len(QUOTA.disk_bytes + 1), &|| {
            file.write(Some(1 << 40), b"x").map(drop)
        }];
    for attempt in attempts {
        assert_eq!(attempt(), Err(FsError::NoSpace));
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
    assert!(((10 << 20)..(11 << 20)).contains(&used), "{used}");
    let forks: Vec<_> = (0..50).map(|_| vfs.fork(QUOTA_BIG).unwrap()).collect();
    assert!(base.budget.used() < used + (1 << 20), "forks share");
    for fork in &forks {
        open(fork, "tmp/big", WRITE).unwrap().write(Some(5 << 20), b"mine").unwrap();
    }
    assert!(base.budget.used() >= used + 50 * (64 << 10));
    // 64 MiB in all: a file as large as the rest cannot be filled.
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
fn names_and_targets_count_and_are_given_back() {
    let base = base();
    let vfs = Vfs::new(base.clone(), QUOTA_BIG).unwrap();
    let root = vfs.root();
    let empty = base.budget.used();
    let long = |number: usize| format!("tmp/{number:0>255}");
    for number in 0..50 {
        root.symlink(&"t".repeat(4_096), &long(number)).unwrap();
    }
    assert!(base.budget.used() >= empty + 50 * (4_096 + 255), "{}", base.budget.used());
    let used = base.budget.used();
    root.rename(&long(0), &root, "tmp/a").unwrap();
    assert_eq!(base.budget.used(), used - 254);
    root.rename("tmp/a", &root, &long(0)).unwrap();
    assert_eq!(base.budget.used(), used);
    root.create_folder("tmp/d").unwrap();
    let before = base.budget.used();
    assert_eq!(root.rename("tmp/d", &root, &long(1)), Err(FsError::NotFolder));
    assert_eq!(base.budget.used(), before, "a move that failed takes nothing");
    root.rename(&long(2), &root, &long(3)).unwrap();
    assert_eq!(base.budget.used(), before - 512 - 4_096 - 255, "what was replaced is given back");
    let fork = vfs.fork(QUOTA_BIG).unwrap();
    drop(fork);
    let mut archive = Vec::new();
    vfs.to_archive(&mut archive).unwrap();
    let counted = base.budget.used() - 2 * 512;
    let copy = Vfs::from_archive(base.clone(), QUOTA_BIG, &archive[..]).unwrap();
    assert_eq!(base.budget.used(), 2 * (counted + 2 * 512), "what is read back counts as much");
    drop(copy);
    root.remove_folder("tmp/d").unwrap();
    for number in (0..50).filter(|number| *number != 2) {
        root.unlink(&long(number)).unwrap();
    }
    assert_eq!(base.budget.used(), empty);

    let tight = Arc::new(Base { mounts: base.mounts.clone(), budget: Budget::new(2_100), clock: base.clock.clone() });
    let vfs = Vfs::new(tight.clone(), QUOTA).unwrap();
    assert_eq!(vfs.root().symlink(&"t".repeat(1_000), "tmp/l"), Err(FsError::NoSpace));
    vfs.root().symlink("t", "tmp/l").unwrap();
    assert_eq!(vfs.root().rename("tmp/l", &vfs.root(), &long(255)).err(), None);
    assert_eq!(vfs.root().symlink("t", "tmp/m"), Err(FsError::NoSpace));
    assert!(tight.budget.used() <= 2_100);
}
