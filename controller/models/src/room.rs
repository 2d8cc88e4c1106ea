//! Memory for answers that are held: whole ones while they are read, and the parts of streams that are no whole event yet. A
//! bound for all calls together and one for each organization. Short ones are not counted, so that nobody's long ones keep
//! others from being answered. Never waits: an answer that finds no room is refused.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use parking_lot::Mutex;

/// The most memory of all answers.
const MAX_BYTES: usize = 512 << 20;
/// The most of one organization's.
const MAX_ORGANIZATION_BYTES: usize = 192 << 20;
/// Shorter answers are not counted. The number of calls at once bounds them.
const MAX_UNCOUNTED_BYTES: usize = 64 << 10;
/// The steps in which room is taken and given back.
const STEP_BYTES: usize = 64 << 10;

/// The memory of all answers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_organization: HashMap<OrganizationId, usize>,
}

/// The room of one answer, given back on drop.
pub(crate) struct Taken {
    room: Room,
    organization: OrganizationId,
    bytes: usize,
}

impl Room {
    pub(crate) fn taken(&self, organization: &OrganizationId) -> Taken {
        Taken { room: self.clone(), organization: organization.clone(), bytes: 0 }
    }
}

impl Taken {
    /// Takes room for an answer that holds this many bytes now, or gives back what it does not need. Returns false if there is
    /// none.
    pub(crate) fn fit(&mut self, bytes: usize) -> bool {
        let wanted = if bytes <= MAX_UNCOUNTED_BYTES { 0 } else { bytes.next_multiple_of(STEP_BYTES) };
        if wanted == self.bytes {
            return true;
        }
        let mut held = self.room.0.lock();
        let own = held.by_organization.get(&self.organization).copied().unwrap_or_default();
        let (all, own) = (held.all - self.bytes + wanted, own - self.bytes + wanted);
        if wanted > self.bytes && (all > MAX_BYTES || own > MAX_ORGANIZATION_BYTES) {
            return false;
        }
        held.all = all;
        match own {
            0 => held.by_organization.remove(&self.organization),
            own => held.by_organization.insert(self.organization.clone(), own),
        };
        self.bytes = wanted;
        true
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.fit(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn room_is_bounded_for_all_and_for_each_and_comes_back() {
        let room = Room::default();
        let organization = |name: &str| OrganizationId::parse(name).unwrap();
        let take = |name: &str, bytes| {
            let mut taken = room.taken(&organization(name));
            taken.fit(bytes).then_some(taken)
        };
        let mut first: Vec<_> = (0..3).map(|_| take("one", 64 * MIB).unwrap()).collect();
        assert!(take("one", MIB).is_none() && take("one", MAX_UNCOUNTED_BYTES).is_some());
        let second: Vec<_> = (0..3).map(|_| take("two", 64 * MIB).unwrap()).collect();
        let third: Vec<_> = (0..2).map(|_| take("three", 64 * MIB).unwrap()).collect();
        assert!(take("four", MIB).is_none(), "all is taken");
        assert!(first[0].fit(MIB) && take("four", 63 * MIB).is_some() && take("four", 64 * MIB).is_none());
        drop((first, second, third));
        let held = room.0.lock();
        assert!(held.all == 0 && held.by_organization.is_empty());
    }
}
