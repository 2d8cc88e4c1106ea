//! Checks the Linux features that confine the worker.

use std::path::Path;

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};

use super::{Finding, Grade};

/// The first version with `PAGEMAP_SCAN`.
const PAGEMAP_SCAN: (u32, u32) = (6, 7);

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub(super) fn release() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if version(&release).is_some_and(|version| version >= PAGEMAP_SCAN) {
        return Finding::new(Grade::Ok, "linux", format!("{release}: PAGEMAP_SCAN resets sandboxes"));
    }
    let detail = format!("{release}: no PAGEMAP_SCAN before 6.7; sandboxes reset more slowly");
    Finding::new(Grade::Warn, "linux", detail)
}

pub(super) fn landlock() -> Finding {
    // Creating a ruleset restricts nothing; it shows if the kernel knows it.
    let known = |abi: &ABI| {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        ruleset.handle_access(AccessFs::from_all(*abi)).and_then(Ruleset::create).is_ok()
    };
    let abis = [(ABI::V5, 5), (ABI::V3, 3), (ABI::V2, 2), (ABI::V1, 1)];
    match abis.iter().find(|(abi, _)| known(abi)) {
        Some((_, number)) => Finding::new(Grade::Ok, "landlock", format!("ABI {number} or later")),
        None => Finding::new(
            Grade::Warn,
            "landlock",
            "not available: the worker runs without it. Add `landlock` to the kernel's `lsm=` list.",
        ),
    }
}

pub(super) fn seccomp() -> Finding {
    let actions = std::fs::read_to_string(Path::new("/proc/sys/kernel/seccomp/actions_avail")).unwrap_or_default();
    if actions.contains("kill_process") {
        return Finding::new(Grade::Ok, "seccomp", "available");
    }
    Finding::new(Grade::Warn, "seccomp", "not available: the worker runs without system call filters")
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn releases_are_read() {
        for (release, expected) in
            [("6.7.0", Some((6, 7))), ("5.15.0-91-generic", Some((5, 15))), ("6.10-rc1", Some((6, 10))), ("x", None)]
        {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
