//! Tokens: in memory only, 128 random bits each, valid until their run ends or its deadline passes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use crate::admission::Admission;

#[derive(Default)]
pub(crate) struct Tokens {
    /// By the token's random part. The map hashes with a random key, so the time of a lookup reveals nothing about other
    /// tokens.
    known: RwLock<HashMap<u128, Arc<Admission>>>,
}

impl Tokens {
    pub(crate) fn insert(&self, bits: u128, admission: Arc<Admission>) {
        self.known.write().insert(bits, admission);
    }

    /// Forgets a token and ends the requests that are under way with it.
    pub(crate) fn revoke(&self, bits: u128) {
        let admission = self.known.write().remove(&bits);
        if let Some(admission) = admission {
            admission.revoked.cancel();
        }
    }

    /// The admission of a token, if it is valid.
    pub(crate) fn find(&self, name: &str, token: &str) -> Option<Arc<Admission>> {
        let bits = token.strip_prefix(name)?.strip_prefix('.')?;
        // `from_str_radix` would take a sign.
        if bits.len() != 32 || !bits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        let bits = u128::from_str_radix(bits, 16).ok()?;
        let found = self.known.read().get(&bits).cloned()?;
        (found.pass.deadline > Instant::now()).then_some(found)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.read().len()
    }
}
