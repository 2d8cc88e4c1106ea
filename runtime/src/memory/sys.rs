//! The system calls behind slots: reserve, map, protect, and find the private pages of a mapping.
//!
//! Each function wraps one call. The callers state why their use is sound.
#![allow(unsafe_code)] // reason: mmap, mprotect, madvise and ioctl have no safe form over raw reservations

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reserves `len` bytes of inaccessible address space.
pub(super) fn reserve(len: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping at an address chosen by the kernel touches nothing that exists.
    let address = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap returned the null page"))
}

/// Releases a reservation.
///
/// # Safety
/// `[at, at + len)` is a reservation made by [`reserve`], and nothing refers to it any more.
pub(super) unsafe fn release(at: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(at.as_ptr().cast(), len) };
}

/// Replaces `[at, at + len)` by a private, writable mapping of `file` from `offset`.
///
/// # Safety
/// The range lies inside one reservation of the caller, page-aligned, and no reference into it is live.
pub(super) unsafe fn map_file(at: *mut u8, len: usize, file: &File, offset: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the caller owns the range, so MAP_FIXED replaces nothing of anyone else's.
    let got = unsafe { libc::mmap(at.cast(), len, prot, flags, file.as_raw_fd(), offset) };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Replaces `[at, at + len)` by fresh reserved address space: no contents, no access.
///
/// # Safety
/// As for [`map_file`].
pub(super) unsafe fn unmap_to_reserved(at: *mut u8, len: usize) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // SAFETY: the caller owns the range.
    let got = unsafe { libc::mmap(at.cast(), len, libc::PROT_NONE, flags, -1, 0) };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes `[at, at + len)` of a reservation readable and writable. Untouched pages read as zero.
///
/// # Safety
/// The range lies inside one reservation of the caller.
pub(super) unsafe fn allow(at: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::mprotect(at.cast(), len, libc::PROT_READ | libc::PROT_WRITE) })
}

/// Makes `[at, at + len)` inaccessible. Contents stay.
///
/// # Safety
/// The range lies inside one reservation of the caller, and nothing will access it.
pub(super) unsafe fn forbid(at: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::mprotect(at.cast(), len, libc::PROT_NONE) })
}

/// Drops the private pages of `[at, at + len)`. A file mapping then reads as the file again, an anonymous one as zero.
///
/// # Safety
/// The range lies inside one reservation of the caller, and no reference into it is live.
pub(super) unsafe fn discard(at: *mut u8, len: usize) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    check(unsafe { libc::madvise(at.cast(), len, libc::MADV_DONTNEED) })
}

/// Maps the whole `file` for reading, for the life of the process or until [`release`].
pub(super) fn map_shared(file: &File, len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at an address chosen by the kernel.
    let got = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if got == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(got.cast()).ok_or_else(|| io::Error::other("mmap returned the null page"))
}

/// Makes any system call, for the tests of the confinement, and returns the number of its error or 0. The calls that
/// they make get texts that live longer than the call, numbers, and null for everything that the kernel could write.
#[cfg(test)]
pub(crate) fn raw_call(number: libc::c_long, arguments: [usize; 6]) -> i32 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the callers pass no address to which the kernel could write, and end the process afterwards.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}

/// A run of private bytes of a mapping: start and end address.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PageRun {
    pub(super) start: u64,
    pub(super) end: u64,
    categories: u64,
}

// linux/fs.h, since Linux 6.7.
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGEMAP_SCAN: libc::c_ulong = 0xC060_6610;

#[repr(C)]
struct ScanArgs {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// The way to detect private pages on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanKind {
    /// `PAGEMAP_SCAN` (Linux 6.7).
    Ioctl,
    /// Reading `/proc/self/pagemap` entry by entry.
    Entries,
    /// Neither: slots cannot be reset, only mapped anew.
    None,
}

struct Pagemap {
    file: Option<File>,
    kind: ScanKind,
}

/// Opened once, before the process is confined. The file stays readable afterwards.
fn pagemap() -> &'static Pagemap {
    static PAGEMAP: OnceLock<Pagemap> = OnceLock::new();
    PAGEMAP.get_or_init(|| {
        let Ok(file) = File::open("/proc/self/pagemap") else {
            return Pagemap { file: None, kind: ScanKind::None };
        };
        let probe = [0_u8; 1];
        let at = (probe.as_ptr() as u64) & !4095;
        let mut runs = [PageRun::default(); 2];
        let kind = if scan_ioctl(&file, at, at + 4096, &mut runs).is_ok() {
            ScanKind::Ioctl
        } else if file.read_exact_at(&mut [0; 8], at / 4096 * 8).is_ok() {
            ScanKind::Entries
        } else {
            ScanKind::None
        };
        Pagemap { file: Some(file), kind }
    })
}

pub(super) fn scan_kind() -> ScanKind {
    pagemap().kind
}

fn scan_ioctl(file: &File, start: u64, end: u64, runs: &mut [PageRun]) -> io::Result<(usize, u64)> {
    let mut args = ScanArgs {
        size: size_of::<ScanArgs>() as u64,
        flags: 0,
        start,
        end,
        walk_end: 0,
        vec: runs.as_mut_ptr() as u64,
        vec_len: runs.len() as u64,
        max_pages: 0,
        category_inverted: PAGE_IS_FILE,
        category_mask: PAGE_IS_FILE,
        category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        return_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
    };
    // SAFETY: `args` and `runs` outlive the call, and their sizes are the ones given.
    let filled = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &raw mut args) };
    let filled = usize::try_from(filled).map_err(|_| io::Error::last_os_error())?;
    Ok((filled, args.walk_end))
}

/// The page runs in `[start, end)` that are present or swapped out and not backed by a file: the private ones.
/// Addresses are page-aligned.
pub(super) fn private_pages(start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    let map = pagemap();
    let Some(file) = map.file.as_ref() else {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    };
    match map.kind {
        ScanKind::Ioctl => scan_with_ioctl(file, start, end),
        ScanKind::Entries => scan_entries(file, start, end),
        ScanKind::None => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

fn scan_with_ioctl(file: &File, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let mut runs = [PageRun::default(); 256];
    let mut at = start;
    while at < end {
        let (filled, walked) = scan_ioctl(file, at, end, &mut runs)?;
        found.extend(runs.iter().take(filled).map(|run| (run.start, run.end)));
        if walked <= at {
            return Err(io::Error::other("PAGEMAP_SCAN made no progress"));
        }
        at = walked;
    }
    Ok(found)
}

/// The same from page map entries (Documentation/admin-guide/mm/pagemap.rst): bit 63 present, 62 swapped, 61 file or
/// shared.
pub(super) fn scan_entries(file: &File, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut buffer = vec![0_u8; 64 << 10];
    let mut page = start / 4096;
    while page < end / 4096 {
        let count = ((end / 4096 - page) as usize).min(buffer.len() / 8);
        let bytes = buffer.get_mut(..count * 8).unwrap_or_default();
        file.read_exact_at(bytes, page * 8)?;
        for entry in bytes.chunks_exact(8) {
            let entry = u64::from_le_bytes(entry.try_into().unwrap_or_default());
            if entry >> 62 != 0 && entry & (1 << 61) == 0 {
                let at = page * 4096;
                match found.last_mut() {
                    Some(last) if last.1 == at => last.1 = at + 4096,
                    _ => found.push((at, at + 4096)),
                }
            }
            page += 1;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scans_tell_the_same_pages() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[7; 64 * 4096]).unwrap();
        let at = reserve(64 * 4096).unwrap();
        // SAFETY: the test owns the reservation that it just made.
        unsafe {
            map_file(at.as_ptr(), 64 * 4096, &file, 0).unwrap();
            for page in [3, 4, 9, 63] {
                at.as_ptr().add(page * 4096 + 17).write(1);
            }
            assert_eq!(at.as_ptr().add(20 * 4096).read(), 7); // read only: stays the file's
        }
        let base = at.as_ptr() as u64;
        let expected = [(3, 5), (9, 10), (63, 64)].map(|(a, b)| (base + a * 4096, base + b * 4096)).to_vec();
        let end = base + 64 * 4096;
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        assert_eq!(scan_entries(&pagemap, base, end).unwrap(), expected);
        if scan_kind() == ScanKind::Ioctl {
            assert_eq!(scan_with_ioctl(&pagemap, base, end).unwrap(), expected);
        }
        // SAFETY: as above, and nothing refers to it any more.
        unsafe { release(at, 64 * 4096) };
    }
}
