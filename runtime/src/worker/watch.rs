//! Detects callers that disconnect while the thread that would notice is busy running their code.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_host_api::Interrupt;
use parking_lot::{Mutex, MutexGuard};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Cancels when the request that holds it is dropped because the caller disconnected.
pub(crate) struct CancelOnDrop(pub(crate) Interrupt);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

struct Watched {
    number: u64,
    caller: Arc<OwnedFd>,
    interrupt: Interrupt,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock()
}

/// A watched caller, until this is dropped.
pub(crate) struct Watch(u64);

impl Drop for Watch {
    fn drop(&mut self) {
        watched().retain(|one| one.number != self.0);
    }
}

/// Cancels the run if the caller's connection closes before the result is dropped.
pub(crate) fn watch(caller: Arc<OwnedFd>, interrupt: Interrupt) -> Watch {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    watched().push(Watched { number, caller, interrupt });
    Watch(number)
}

/// Checks for closed connections. Called at every tick.
pub(crate) fn look() {
    let watched = watched();
    let mut callers: Vec<PollFd<'_>> =
        watched.iter().map(|one| PollFd::from_borrowed_fd(one.caller.as_fd(), PollFlags::RDHUP)).collect();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    if callers.is_empty() || !poll(&mut callers, Some(&at_once)).is_ok_and(|gone| gone > 0) {
        return;
    }
    let over = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    for (one, caller) in watched.iter().zip(&callers) {
        if caller.revents().intersects(over) {
            one.interrupt.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_caller_that_goes_away_is_noticed_and_others_are_not() {
        let [(first, first_end), (_second, second_end), (third, third_end)] =
            [(); 3].map(|()| UnixStream::pair().unwrap());
        let interrupts = [(); 3].map(|()| Interrupt::new(None));
        let ends = [first_end, second_end, third_end].map(|end| Arc::new(OwnedFd::from(end)));
        let mut watches: Vec<Watch> =
            ends.into_iter().zip(&interrupts).map(|(end, interrupt)| watch(end, interrupt.clone())).collect();
        look();
        assert_eq!(interrupts.each_ref().map(Interrupt::is_cancelled), [false; 3]);
        drop(watches.pop());
        drop((first, third));
        look();
        assert_eq!(interrupts.each_ref().map(Interrupt::is_cancelled), [true, false, false]);
    }
}
