//! A process that was started as root goes on as a user that nothing else on the machine is: what Landlock and seccomp
//! leave open is then open to nobody.
//!
//! Files that the process needs later have to be in one folder, which is its working folder and becomes that user's:
//! folders above it may be closed to the user. Never changes a process that was not started as root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use rustix::process::{geteuid, getppid, parent_process_death_signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// The number of the user and of the group. systemd's list of ids ("Users, Groups, UIDs and GIDs on systemd Systems")
/// has 65520 to 65533 as unused.
pub(super) const OWN_ID: u32 = 65_521;
/// Folders within the folder that are gone through. A state has two levels.
const MAX_DEPTH: usize = 8;

/// The rights that the change takes, for this process and for the one that started it: it ends this process, and the
/// next one reads the files.
const NEEDED: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER);

/// True if this process is root and may become another user.
pub(crate) fn is_possible() -> bool {
    geteuid().is_root() && capabilities(None).is_ok_and(|held| held.effective.contains(NEEDED))
}

/// Makes `folder` the working folder if this process can become another user, and returns the path that it has from now
/// on. Call it before paths that are not absolute are used.
///
/// # Errors
/// The folder cannot be entered.
pub(crate) fn work_in(folder: &Path) -> io::Result<PathBuf> {
    if !is_possible() {
        return Ok(folder.to_owned());
    }
    std::env::set_current_dir(folder)?;
    Ok(PathBuf::from("."))
}

/// Gives the own user a folder and everything in it. Does nothing if this process cannot become that user.
///
/// # Errors
/// A file's owner cannot be read or changed.
pub(crate) fn give(folder: &Path) -> io::Result<()> {
    if is_possible() { give_within(folder, MAX_DEPTH) } else { Ok(()) }
}

/// A folder comes after its content, so that one that is the own user's already is passed over whole.
fn give_within(path: &Path, depth: usize) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    // A file with a second name may belong somewhere else.
    if (about.uid() == OWN_ID && about.gid() == OWN_ID) || (!about.is_dir() && about.nlink() > 1) {
        return Ok(());
    }
    if about.is_dir() && depth > 0 {
        for entry in fs::read_dir(path)? {
            give_within(&entry?.path(), depth - 1)?;
        }
    }
    let (user, group) = (Some(Uid::from_raw(OWN_ID)), Some(Gid::from_raw(OWN_ID)));
    Ok(chownat(CWD, path, user, group, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives up the right with which a page map that is opened from now on would show where in the machine's memory pages
/// lie: it stays open in the confined process.
///
/// # Errors
/// The capabilities cannot be read or changed.
pub(crate) fn forgo_page_frames() -> io::Result<()> {
    let mut held = capabilities(None)?;
    for set in [&mut held.effective, &mut held.permitted, &mut held.inheritable] {
        set.remove(CapabilitySet::SYS_ADMIN);
    }
    Ok(set_capabilities(None, held)?)
}

/// Lets other users pass through a folder to what they have in it. Its list and its other files stay closed to them.
///
/// # Errors
/// The folder's mode cannot be changed.
pub(crate) fn let_through(folder: &Path) -> io::Result<()> {
    if !is_possible() {
        return Ok(());
    }
    let mode = fs::metadata(folder)?.mode() & 0o7777;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o001))
}

/// Becomes the own user, for good. Returns a word for the log. Call it while there is only one thread.
pub(super) fn leave_root() -> io::Result<&'static str> {
    if !geteuid().is_root() {
        return Ok("as started");
    }
    if !is_possible() {
        return Ok("root: the rights to change the user are missing");
    }
    let (signal, parent) = (parent_process_death_signal()?, getppid());
    let (user, group) = (Uid::from_raw(OWN_ID), Gid::from_raw(OWN_ID));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    // A change of the user unties the process from its parent.
    set_parent_process_death_signal(signal)?;
    if signal.is_some() && getppid() != parent {
        return Err(io::Error::other("the parent process has ended"));
    }
    Ok("own")
}
