//! Archives: a round trip preserves everything, and forged ones are refused.

use std::io::Read;

use super::*;

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
    assert!(archive == again, "a second archive differs");
    assert_eq!(back.usage(), DiskUsage { open: 0, ..vfs.usage() });
    assert_eq!(back.read_file("sparse").unwrap(), vfs.read_file("sparse").unwrap());
    let stat = back.root().stat_at("home/user/sparse", true).unwrap();
    assert_eq!((stat.times.accessed.as_nanos(), stat.times.modified.as_nanos()), (5, 7));

    // Cut off anywhere, or with any byte changed: an error or a file system, never a panic, and no leak.
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
        // An endless tail: none of these may be read forever.
        let base = base();
        let mut tail = std::io::repeat(0xaa).take(1 << 20);
        let got = Vfs::from_archive(base.clone(), QUOTA, archive.chain(&mut tail));
        assert!(got.is_err(), "{what}");
        assert!(tail.limit() > 0, "{what}");
        assert_eq!(base.budget.used(), 0, "{what}");
    }
}
