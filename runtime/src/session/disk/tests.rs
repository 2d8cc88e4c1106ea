use cofferdam_contract::{Language, Limits, OrganizationId};

use super::*;

fn meta(id: &SessionId) -> Meta {
    Meta {
        id: id.clone(),
        organization: OrganizationId::default_organization(),
        language: Language::Python,
        limits: Limits { wall_ms: 1, cpu_ms: 1, memory_bytes: 1, output_bytes: 1, disk_bytes: 1, files: 1 },
        ttl_s: 1,
        ends_at: 1,
        last_used_at: 1,
        image_digest: String::new(),
        kernel_version: String::new(),
        uptime_us: 0,
        generation: 1,
        warnings: Vec::new(),
    }
}

/// A state as versions without checksums wrote it.
fn state(root: &Path, id: &SessionId) {
    let meta = meta(id);
    fs::create_dir(root.join(id.as_str())).unwrap();
    fs::write(root.join(id.as_str()).join("meta.json"), serde_json::to_vec(&meta).unwrap()).unwrap();
}

fn names(root: &Path) -> Vec<String> {
    fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_retired_state_is_gone_at_once_and_deleted_later_or_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let [first, second] = [1_u128, 2].map(SessionId::from_random);
    state(root.path(), &first);
    state(root.path(), &second);
    let (folder, found) = StateFolder::open(root.path(), 1 << 20).unwrap();
    assert_eq!(found.len(), 2);
    let before = folder.used();
    folder.retire(&first).unwrap();
    folder.retire(&first).unwrap(); // there is nothing: nothing to do
    // The name is free: a new state of the same session does not collide with the old one.
    state(root.path(), &first);
    folder.retire(&first).unwrap();
    assert_eq!(names(root.path()).iter().filter(|name| name.ends_with(".gone")).count(), 2);
    // A crash here: the next start finds the state that was not retired, and deletes the rest.
    let (again, found) = StateFolder::open(root.path(), 1 << 20).unwrap();
    assert!(found.iter().map(|meta| &meta.id).eq([&second]));
    assert_eq!(names(root.path()), [second.as_str()]);
    assert_eq!(again.used() * 2, before);
    again.retire(&second).unwrap();
    again.sweep();
    assert_eq!((names(root.path()).len(), again.used()), (0, 0));
}

#[test]
fn a_state_whose_first_write_did_not_end_is_deleted_and_not_taken_for_a_damaged_one() {
    let root = tempfile::tempdir().unwrap();
    let id = SessionId::from_random(1);
    fs::create_dir(root.path().join(id.as_str())).unwrap();
    for part in ["1.memory", "1.files", "meta.new"] {
        fs::write(root.path().join(id.as_str()).join(part), [1; 5_000]).unwrap();
    }
    let (folder, found) = StateFolder::open(root.path(), 1 << 20).unwrap();
    assert!(found.is_empty());
    assert_eq!((names(root.path()), folder.used()), (Vec::new(), 0));
}

fn base() -> Arc<Base> {
    use cofferdam_host_api::{Budget, Mounts, SystemClock};
    let mounts = Arc::new(Mounts::new());
    Arc::new(Base { mounts, budget: Budget::new(1 << 20), clock: Arc::new(SystemClock) })
}

/// Writes a state with two changed pages and one file.
fn write(folder: &StateFolder, id: &SessionId) {
    let vfs = Vfs::new(base(), QUOTA).unwrap();
    vfs.write_file("a.txt", b"some text").unwrap();
    let memory: Vec<u8> = (0..65536_u32).map(|i| (i % 251) as u8).collect();
    let runs = [(0, 4096), (8192, 12288)];
    folder.write(&mut meta(id), &vfs, Delta::len_of(&runs), |file| Delta::write(file, &memory, &runs)).unwrap();
}

const QUOTA: Quota = Quota { disk_bytes: 1 << 20, files: 10, open_files: 10 };

#[test]
fn a_flipped_bit_in_any_file_of_a_state_is_found_and_named() {
    let root = tempfile::tempdir().unwrap();
    let (folder, _) = StateFolder::open(root.path(), 1 << 20).unwrap();
    let id = SessionId::from_random(1);
    let notes = Ledger::new(u64::MAX);
    for (name, expected) in [("1.memory", Part::Memory), ("1.files", Part::Files), ("meta.json", Part::Description)] {
        write(&folder, &id);
        let (whole, stored) = folder.read(&id, &base(), QUOTA, &notes).unwrap();
        assert_eq!((whole.id, stored.delta.payload_len()), (id.clone(), 8192));
        assert!(notes.used() > 8192);
        drop(stored);
        assert_eq!(notes.used(), 0);
        let path = root.path().join(id.as_str()).join(name);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by((good.len() / 40).max(1)) {
            let mut bent = good.clone();
            bent[at] ^= 1 << (at % 8);
            fs::write(&path, &bent).unwrap();
            let checked = folder
                .read(&id, &base(), QUOTA, &notes)
                .and_then(|(_, stored)| stored.memory.check().map_err(|source| ReadError::of(Part::Memory, source)));
            match checked {
                Err(ReadError::Damaged { part, .. }) => assert_eq!(part, expected),
                Err(error) => panic!("{name} at {at}: {error}"),
                Ok(_) => panic!("{name} at {at} was believed"),
            }
        }
        assert!(folder.set_aside(&id).unwrap().ends_with(format!("{id}.damaged")));
        assert_eq!(names(root.path()), [format!("{id}.damaged")]);
        let aside = files::size_of_folder(&root.path().join(format!("{id}.damaged")));
        assert!(aside > 8192 && folder.used() == aside, "what is set aside counts, and the one before is gone");
        assert!(folder.meta(&id).unwrap_err().is_absence());
    }
}

#[test]
fn memory_that_is_used_up_is_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let (folder, _) = StateFolder::open(root.path(), 1 << 20).unwrap();
    let id = SessionId::from_random(1);
    write(&folder, &id);
    let notes = Ledger::new(u64::MAX);
    let small = Quota { disk_bytes: 1, ..QUOTA };
    assert!(matches!(folder.read(&id, &base(), small, &notes), Err(ReadError::NoRoom)));
}

#[test]
fn few_damaged_states_are_kept_and_they_make_way() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..aside::MAX_DAMAGED as u128 + 4 {
        let id = SessionId::from_random(number);
        fs::create_dir(root.path().join(id.as_str())).unwrap();
        fs::write(root.path().join(id.as_str()).join("meta.json"), [b'{'; 10_000]).unwrap();
    }
    let (folder, found) = StateFolder::open(root.path(), 250_000).unwrap();
    assert!(found.is_empty());
    assert_eq!((names(root.path()).len(), folder.used()), (aside::MAX_DAMAGED, 160_000));
    drop(folder);
    let (folder, _) = StateFolder::open(root.path(), 250_000).unwrap();
    assert_eq!((names(root.path()).len(), folder.used()), (aside::MAX_DAMAGED, 160_000), "also after a start");
    // A state of about 80 KiB, with 64 KiB for its description.
    write(&folder, &SessionId::from_random(100));
    write(&folder, &SessionId::from_random(101));
    assert!(names(root.path()).len() < aside::MAX_DAMAGED + 2);
    assert!(folder.used() <= 250_000);
}

#[test]
fn a_state_that_does_not_fit_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (folder, _) = StateFolder::open(root.path(), 90_000).unwrap();
    let (first, second) = (SessionId::from_random(1), SessionId::from_random(2));
    write(&folder, &first);
    let used = folder.used();
    assert!((8_192..40_000).contains(&used), "{used}");
    let vfs = Vfs::new(base(), QUOTA).unwrap();
    let refused = folder.write(&mut meta(&second), &vfs, 1 << 20, |_| panic!("written before there was room"));
    assert_eq!(refused.unwrap_err().to_problem().kind(), "overloaded");
    for code in [28, 24] {
        let full = |_: &mut File| Err(io::Error::from_raw_os_error(code));
        let error = folder.write(&mut meta(&second), &vfs, 10, full).unwrap_err();
        assert_eq!(error.to_problem().kind(), "storage-full");
        assert_eq!((names(root.path()).len(), folder.used()), (1, used));
    }
    folder.remove(&first);
    folder.sweep();
    assert_eq!((names(root.path()).len(), folder.used()), (0, 0));
}

/// Suspending races deleting, and the sweep races both: the count always comes back.
#[test]
fn the_count_is_right_whatever_races() {
    let root = tempfile::tempdir().unwrap();
    let budget = 400_000;
    let (folder, _) = StateFolder::open(root.path(), budget).unwrap();
    let memory: Vec<u8> = (0..65536_u32).map(|i| (i % 251) as u8).collect();
    let runs = [(0, 16 << 10)];
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = |number: u128| {
            let (folder, memory) = (&folder, &memory);
            move || {
                let id = SessionId::from_random(number);
                for _ in 0..60 {
                    let vfs = Vfs::new(base(), QUOTA).unwrap();
                    let write = |file: &mut File| Delta::write(file, memory, &runs);
                    let _ = folder.write(&mut meta(&id), &vfs, Delta::len_of(&runs), write);
                    assert!(folder.used() <= budget);
                }
            }
        };
        let writers: Vec<_> = (0..4).map(|number| scope.spawn(writer(number))).collect();
        for number in 0..4 {
            let (folder, stop) = (&folder, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    folder.remove(&SessionId::from_random(number));
                    folder.sweep();
                }
            });
        }
        let done: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(done.iter().all(Result::is_ok));
    });
    folder.sweep();
    let on_disk: u64 =
        files::names(root.path()).unwrap().iter().map(|name| files::size_of_folder(&root.path().join(name))).sum();
    assert_eq!(folder.used(), on_disk);
    for number in 0..4 {
        folder.remove(&SessionId::from_random(number));
    }
    folder.sweep();
    assert_eq!((names(root.path()).len(), folder.used()), (0, 0));
}
