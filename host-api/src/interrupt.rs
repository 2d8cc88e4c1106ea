//! Blocking waits on a guest's behalf, never past the run's deadline and never after its cancellation.
//!
//! A wait parks the thread: no executor, no timer thread. Running guest code is stopped by epochs instead.

use std::{
    cell::Cell,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

/// The reason why a wait ended early. Becomes a trap in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    #[error("the run's deadline passed")]
    Deadline,
    #[error("the run was cancelled")]
    Cancelled,
}

/// Cancels a run, from any thread.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    deadline: Option<Instant>,
    woken: Mutex<bool>,
    wake: Condvar,
}

impl State {
    fn woken(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.woken() = true;
        self.wake.notify_all();
    }
}

thread_local! {
    /// The earliest instant at which the future that was just polled on this thread wants to be polled again.
    static TIMER: Cell<Option<Instant>> = const { Cell::new(None) };
}

impl Interrupt {
    /// `None`: no deadline.
    pub fn new(deadline: Option<Instant>) -> Self {
        Self(Arc::new(State { deadline, ..State::default() }))
    }

    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        self.0.wake_by_ref();
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Fails if the run must stop.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_cancelled() {
            return Err(Interrupted::Cancelled);
        }
        match self.0.deadline {
            Some(deadline) if deadline <= Instant::now() => Err(Interrupted::Deadline),
            _ => Ok(()),
        }
    }

    /// Runs a future to completion on this thread. Wake-ups may come from any thread, and from [`Timer`]s.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Interrupted> {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(&self.0));
        let mut context = Context::from_waker(&waker);
        loop {
            *self.0.woken() = false;
            TIMER.set(None);
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            self.wait(TIMER.take())?;
        }
    }

    /// Waits until woken or until the timer's instant. Fails at the deadline and on cancellation.
    fn wait(&self, timer: Option<Instant>) -> Result<(), Interrupted> {
        let mut woken = self.0.woken();
        loop {
            if self.is_cancelled() {
                return Err(Interrupted::Cancelled);
            }
            let now = Instant::now();
            // Checked first, so that a future that is woken again and again without finishing also ends here.
            if self.0.deadline.is_some_and(|at| at <= now) {
                return Err(Interrupted::Deadline);
            }
            if *woken || timer.is_some_and(|at| at <= now) {
                return Ok(());
            }
            let until = [timer, self.0.deadline].into_iter().flatten().min();
            woken = match until {
                Some(at) => self.0.wake.wait_timeout(woken, at - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.wake.wait(woken).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Polls once without waiting.
pub(crate) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Ready from an instant on (`None`: never). Only [`Interrupt::block_on`] wakes for it; other executors would not.
#[derive(Debug, Clone, Copy)]
pub struct Timer(pub Option<Instant>);

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.0 else { return Poll::Pending };
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        TIMER.set(Some(TIMER.get().map_or(at, |earlier| earlier.min(at))));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, thread, time::Duration};

    use super::*;

    fn after(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[test]
    fn one_who_is_always_woken_ends_too() {
        let interrupt = Interrupt::new(Some(after(30)));
        let busy = poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(interrupt.block_on(busy), Err(Interrupted::Deadline));
    }

    #[test]
    fn waits_end_when_they_should() {
        for (timer, deadline, cancel, expected, at_least) in [
            (Some(30), None, None, Ok(()), 30),
            (Some(30), Some(5_000), None, Ok(()), 30),
            (Some(5_000), Some(30), None, Err(Interrupted::Deadline), 30),
            (None, Some(30), None, Err(Interrupted::Deadline), 30),
            (None, None, Some(30), Err(Interrupted::Cancelled), 30),
            (Some(5_000), Some(5_000), Some(0), Err(Interrupted::Cancelled), 0),
        ] {
            let started = Instant::now();
            let interrupt = Interrupt::new(deadline.map(after));
            let timer = Timer(timer.map(after));
            let canceller = cancel.map(|ms| {
                let interrupt = interrupt.clone();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(ms));
                    interrupt.cancel();
                    Instant::now()
                })
            });
            assert_eq!(interrupt.block_on(timer), expected);
            let ended = Instant::now();
            if let Some(canceller) = canceller {
                let late = ended.saturating_duration_since(canceller.join().unwrap());
                assert!(late < Duration::from_millis(20), "{late:?} after the cancellation");
            }
            let took = ended - started;
            assert!(took >= Duration::from_millis(at_least) && took < Duration::from_millis(1_000), "{took:?}");
            assert_eq!(interrupt.check(), expected);
        }
    }

    #[test]
    fn a_future_is_woken_from_another_thread() {
        let shared = Arc::new(Mutex::new((false, None::<Waker>)));
        let theirs = Arc::clone(&shared);
        let other = thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(5));
                let mut state = theirs.lock().unwrap();
                if let Some(waker) = state.1.take() {
                    state.0 = true;
                    return waker.wake();
                }
            }
        });
        let mut polls = 0;
        let ready = poll_fn(|context| {
            polls += 1;
            let mut state = shared.lock().unwrap();
            state.1 = Some(context.waker().clone());
            if state.0 { Poll::Ready(7) } else { Poll::Pending }
        });
        assert_eq!(Interrupt::new(Some(after(5_000))).block_on(ready), Ok(7));
        assert_eq!(polls, 2);
        other.join().unwrap();
    }
}
