//! Places for sessions that are being made: taken before the work, given back when it fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_contract::Problem;

use super::Sessions;

/// Places that are taken and have no session yet. Given back when this is dropped.
pub(super) struct Room<'a> {
    making: &'a AtomicUsize,
    places: usize,
}

impl Room<'_> {
    /// A session has taken one of the places. Called with the table locked, so that it is never counted twice.
    pub(super) fn used_one(&mut self) {
        if self.places > 0 {
            self.places -= 1;
            self.making.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.making.fetch_sub(self.places, Ordering::Relaxed);
    }
}

/// Takes `places` if that is not more than `max` together with those that are held and being made. The caller has locked
/// what it counts in `held`.
fn take(making: &AtomicUsize, held: usize, places: usize, max: usize) -> Result<Room<'_>, Problem> {
    let taken = held + making.load(Ordering::Relaxed);
    if taken.saturating_add(places) > max {
        let detail = format!("this worker holds {taken} sessions, and the maximum is {max}; delete some");
        return Err(Problem::overloaded(detail));
    }
    making.fetch_add(places, Ordering::Relaxed);
    Ok(Room { making, places })
}

impl Sessions {
    /// Takes places for sessions, all of them or none.
    ///
    /// # Errors
    /// `overloaded` if there are not so many.
    pub(super) fn reserve(&self, places: usize) -> Result<Room<'_>, Problem> {
        let table = self.table();
        take(&self.making, table.len(), places, self.max_sessions)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn places_are_never_more_than_allowed_and_return_when_the_work_fails() {
        let (making, table, start) = (AtomicUsize::new(0), Mutex::new(0_usize), Barrier::new(64));
        let made = || {
            std::thread::scope(|scope| {
                let make = |number: usize| {
                    let (making, table, start) = (&making, &table, &start);
                    move || {
                        start.wait();
                        let held = table.lock();
                        let room = take(making, *held, 1, 5);
                        drop(held);
                        let Ok(mut room) = room else { return 0 };
                        std::thread::yield_now();
                        // Every other one fails.
                        if number.is_multiple_of(2) {
                            return 0;
                        }
                        *table.lock() += 1;
                        room.used_one();
                        1
                    }
                };
                let all: Vec<_> = (0..64).map(|number| scope.spawn(make(number))).collect();
                all.into_iter().map(|one| one.join().unwrap()).sum::<usize>()
            })
        };
        let mut all = 0;
        for _ in 0..50 {
            all += made();
            assert!(all <= 5 && *table.lock() == all, "{all}");
            assert_eq!(making.load(Ordering::Relaxed), 0);
        }
        assert_eq!(all, 5);
        assert!(take(&making, 0, 6, 5).is_err());
        *table.lock() = 0;
        assert_eq!(take(&making, 0, 5, 5).unwrap().places, 5);
    }
}
