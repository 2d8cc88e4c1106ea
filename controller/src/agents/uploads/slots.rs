//! How many uploads may be under way at once, of one organization and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use cofferdam_contract::OrganizationId;

#[derive(Default)]
struct Counts {
    all: usize,
    by_organization: HashMap<OrganizationId, usize>,
}

#[derive(Default, Clone)]
pub struct Slots(Arc<Mutex<Counts>>);

/// Which number is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Organization,
    All,
}

/// A place, until it is dropped.
pub struct Slot {
    slots: Slots,
    organization: OrganizationId,
}

impl Slots {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// # Errors
    /// Where there are as many already.
    pub fn take(&self, organization: &OrganizationId, most: usize, of_one: usize) -> Result<Slot, Full> {
        let mut counts = self.counts();
        if counts.by_organization.get(organization).is_some_and(|n| *n >= of_one) {
            return Err(Full::Organization);
        }
        if counts.all >= most {
            return Err(Full::All);
        }
        counts.all += 1;
        *counts.by_organization.entry(organization.clone()).or_default() += 1;
        Ok(Slot { slots: self.clone(), organization: organization.clone() })
    }

    /// Those that are taken.
    pub fn taken(&self) -> usize {
        self.counts().all
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.counts();
        counts.all = counts.all.saturating_sub(1);
        let left = counts.by_organization.get(&self.organization).map_or(0, |n| n.saturating_sub(1));
        if left == 0 {
            counts.by_organization.remove(&self.organization);
        } else {
            counts.by_organization.insert(self.organization.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_organization_cannot_take_all_places() {
        let slots = Slots::default();
        let (a, b) = (OrganizationId::parse("a").unwrap(), OrganizationId::parse("b").unwrap());
        let first = slots.take(&a, 3, 2).unwrap();
        let _second = slots.take(&a, 3, 2).unwrap();
        assert_eq!(slots.take(&a, 3, 2).err(), Some(Full::Organization));
        let _other = slots.take(&b, 3, 2).unwrap();
        assert_eq!(slots.take(&b, 3, 2).err(), Some(Full::All));
        drop(first);
        assert!(slots.take(&a, 3, 2).is_ok());
        assert_eq!(slots.taken(), 2);
        assert_eq!(slots.counts().by_organization.len(), 2, "organizations without an upload are forgotten");
    }
}
