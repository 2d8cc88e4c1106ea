//! Accounts for host memory used for a guest besides its files and output: headers, bodies in flight, values read.
//!
//! Counts and bounds the total. Frees nothing itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cofferdam_contract::LimitName;

use crate::sandbox::Stop;

/// The bound for one sandbox.
pub(crate) const MAX_HELD: usize = 16 << 20;

/// The counter of one sandbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(crate) fn hold(&self, bytes: usize) -> Result<Hold, Stop> {
        let mut hold = Hold { held: self.clone(), bytes: 0 };
        hold.resize(bytes)?;
        Ok(hold)
    }
}

/// A share of the counter, returned on drop.
#[derive(Debug)]
pub(crate) struct Hold {
    held: Held,
    bytes: usize,
}

impl Hold {
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Stop> {
        let add = |held: usize| held.checked_sub(self.bytes)?.checked_add(bytes).filter(|held| *held <= MAX_HELD);
        let added = self.held.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.map_err(|_| Stop(LimitName::HostMemory))?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted() {
        let held = Held::default();
        let mut one = held.hold(MAX_HELD - 10).unwrap();
        let other = held.hold(10).unwrap();
        assert_eq!(held.hold(1).unwrap_err(), Stop(LimitName::HostMemory));
        assert!(one.resize(MAX_HELD).is_err());
        drop(other);
        one.resize(MAX_HELD).unwrap();
        drop(one);
        held.hold(MAX_HELD).unwrap();
        assert!(held.hold(usize::MAX).is_err());
    }
}
