//! Memory for the bodies of calls: a bound for all of them, and for one organization's. Short bodies are not counted, so that
//! nobody's long ones keep others from making a call. Never waits long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use std::sync::Mutex;
use std::sync::PoisonError;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Bytes of all bodies that are counted.
const MAX_BYTES: usize = 256 << 20;
/// Bytes of one organization's.
const MAX_ORGANIZATION_BYTES: usize = 128 << 20;
/// Longer bodies are counted. Connections bound the shorter ones.
const MAX_UNCOUNTED_BYTES: usize = 16 << 10;
/// The longest wait for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(3);

/// There was no room in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The memory of all bodies. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_organization: HashMap<OrganizationId, usize>,
}

/// Room for one body, given back on drop.
pub(crate) struct Room {
    memory: Memory,
    organization: OrganizationId,
    bytes: usize,
}

impl Memory {
    /// Takes room for a body, and waits a little for it.
    pub(crate) async fn take(&self, organization: &OrganizationId, bytes: usize) -> Result<Room, Full> {
        let room = |bytes| Room { memory: self.clone(), organization: organization.clone(), bytes };
        if bytes <= MAX_UNCOUNTED_BYTES {
            return Ok(room(0));
        }
        let deadline = Instant::now() + ROOM_TIMEOUT;
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            // Before the look, so that nothing is missed between the two.
            freed.as_mut().enable();
            if self.0.try_take(organization, bytes) {
                return Ok(room(bytes));
            }
            timeout_at(deadline, freed).await.map_err(|_| Full)?;
        }
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Taken) -> T) -> T {
        change(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn try_take(&self, organization: &OrganizationId, bytes: usize) -> bool {
        self.change(|taken| {
            let own = taken.by_organization.get(organization).copied().unwrap_or_default();
            let fits = taken.all + bytes <= MAX_BYTES && own + bytes <= MAX_ORGANIZATION_BYTES;
            if fits {
                taken.all += bytes;
                taken.by_organization.insert(organization.clone(), own + bytes);
            }
            fits
        })
    }

    fn give_back(&self, organization: &OrganizationId, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.change(|taken| {
            taken.all = taken.all.saturating_sub(bytes);
            if let Some(own) = taken.by_organization.get_mut(organization) {
                *own = own.saturating_sub(bytes);
                if *own == 0 {
                    taken.by_organization.remove(organization);
                }
            }
        });
        self.freed.notify_waiters();
    }
}

impl Room {
    /// Gives back what a body did not need.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(surplus) = self.bytes.checked_sub(bytes) {
            self.memory.0.give_back(&self.organization, surplus);
            self.bytes = bytes;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.memory.0.give_back(&self.organization, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn organization(name: &str) -> OrganizationId {
        OrganizationId::parse(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_organization_leaves_room_for_others() {
        let memory = Memory::default();
        let (one, two, three) = (organization("one"), organization("two"), organization("three"));
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(memory.take(&one, 32 * MIB).await.unwrap());
        }
        assert_eq!(memory.take(&one, 17 << 10).await.err(), Some(Full));
        assert!(memory.take(&one, 16 << 10).await.is_ok(), "short bodies always have room");
        for _ in 0..4 {
            held.push(memory.take(&two, 32 * MIB).await.unwrap());
        }
        assert_eq!(memory.take(&three, MIB).await.err(), Some(Full), "all is taken");
        let waiting = {
            let (memory, three) = (memory.clone(), three.clone());
            tokio::spawn(async move { memory.take(&three, MIB).await.is_ok() })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        held[0].shrink(MIB);
        assert!(waiting.await.unwrap());
        drop(held);
        memory.0.change(|taken| assert!(taken.all == 0 && taken.by_organization.is_empty()));
    }
}
