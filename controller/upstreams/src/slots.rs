//! Slots for calls at once. Of an upstream that all organizations share, none gets the last quarter that another may need.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use parking_lot::Mutex;

/// The slots of one upstream.
#[derive(Debug)]
pub(crate) struct Slots {
    max: u32,
    /// The most of one organization.
    max_each: u32,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_organization: HashMap<OrganizationId, u32>,
}

/// A slot, given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    organization: OrganizationId,
}

impl Slots {
    /// `shared`: organizations share the upstream.
    pub(crate) fn new(max: u32, shared: bool) -> Arc<Self> {
        let max_each = if shared { max - max / 4 } else { max };
        Arc::new(Self { max, max_each, taken: Mutex::default() })
    }

    /// A slot for a call, if there is one.
    pub(crate) fn take(self: &Arc<Self>, organization: &OrganizationId) -> Option<Slot> {
        let mut taken = self.taken.lock();
        let own = taken.by_organization.get(organization).copied().unwrap_or_default();
        if taken.all >= self.max || own >= self.max_each {
            return None;
        }
        taken.all += 1;
        taken.by_organization.insert(organization.clone(), own + 1);
        Some(Slot { slots: Arc::clone(self), organization: organization.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_organization.get_mut(&self.organization) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_organization.remove(&self.organization);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_organization_leaves_slots_for_others() {
        let organization = |name: &str| OrganizationId::parse(name).unwrap();
        let slots = Slots::new(8, true);
        let held: Vec<Slot> = (0..6).map(|_| slots.take(&organization("one")).unwrap()).collect();
        assert!(slots.take(&organization("one")).is_none());
        let other: Vec<Slot> = (0..2).map(|_| slots.take(&organization("two")).unwrap()).collect();
        assert!(slots.take(&organization("three")).is_none());
        drop((held, other));
        assert!(slots.taken.lock().by_organization.is_empty() && slots.taken.lock().all == 0);
        assert_eq!((0..9).map_while(|_| Slots::new(1, true).take(&organization("one"))).count(), 9);
        let own = Slots::new(2, false);
        let held: Vec<Option<Slot>> = (0..3).map(|_| own.take(&organization("one"))).collect();
        assert_eq!(held.iter().flatten().count(), 2);
    }
}
