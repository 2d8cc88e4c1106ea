//! Limits how many uploads run at once: in total, and for one organization.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use parking_lot::Mutex;

#[derive(Default)]
struct Counts {
    all: usize,
    by_organization: HashMap<OrganizationId, usize>,
}

/// Places for uploads. Clones share them.
#[derive(Default, Clone)]
pub struct Slots(Arc<Mutex<Counts>>);

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Organization,
    All,
}

/// One place. Dropping it frees the place.
pub struct Slot {
    slots: Slots,
    organization: OrganizationId,
}

impl Slots {
    /// Takes a place for an organization.
    ///
    /// # Errors
    /// [`Full`] when `max` places are taken, or the organization has `max_per_organization`.
    pub fn take(&self, organization: &OrganizationId, max: usize, max_per_organization: usize) -> Result<Slot, Full> {
        let mut counts = self.0.lock();
        if counts.by_organization.get(organization).is_some_and(|n| *n >= max_per_organization) {
            return Err(Full::Organization);
        }
        if counts.all >= max {
            return Err(Full::All);
        }
        counts.all += 1;
        *counts.by_organization.entry(organization.clone()).or_default() += 1;
        Ok(Slot { slots: self.clone(), organization: organization.clone() })
    }

    /// The number of places that are taken.
    pub fn taken(&self) -> usize {
        self.0.lock().all
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.0.lock();
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
        assert_eq!(slots.0.lock().by_organization.len(), 2, "organizations without an upload are forgotten");
    }

    #[test]
    fn many_at_once_take_no_more_places_than_there_are() {
        let (slots, start) = (Slots::default(), std::sync::Barrier::new(64));
        let organizations = ["a", "b", "c"].map(|id| OrganizationId::parse(id).unwrap());
        for _ in 0..10 {
            let taken: Vec<Slot> = std::thread::scope(|scope| {
                let take = |number: usize| {
                    let (slots, start, organization) = (&slots, &start, &organizations[number % 3]);
                    move || {
                        start.wait();
                        slots.take(organization, 5, 2).ok()
                    }
                };
                let takers: Vec<_> = (0..64).map(|number| scope.spawn(take(number))).collect();
                takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect()
            });
            assert_eq!((taken.len(), slots.taken()), (5, 5));
            for organization in &organizations {
                assert!(taken.iter().filter(|slot| slot.organization == *organization).count() <= 2);
            }
            drop(taken);
            assert_eq!(slots.taken(), 0);
        }
    }
}
