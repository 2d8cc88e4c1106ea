//! Tokens: in memory only, 128 random bits each, good until their run is over or its deadline has passed.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use super::admission::Admission;

#[derive(Default)]
pub struct Tokens {
    /// By the token's random part. Looked up by a hash with a random key, so the time tells nothing of other tokens.
    known: RwLock<HashMap<u128, Arc<Admission>>>,
}

impl Tokens {
    pub fn insert(&self, bits: u128, admission: Arc<Admission>) {
        self.known.write().unwrap_or_else(|e| e.into_inner()).insert(bits, admission);
    }

    /// Forgets a token and ends what is under way with it.
    pub fn revoke(&self, bits: u128) {
        let admission = self.known.write().unwrap_or_else(|e| e.into_inner()).remove(&bits);
        if let Some(admission) = admission {
            admission.revoked.cancel();
        }
    }

    /// Who shows this token, if it is good.
    pub fn find(&self, name: &str, token: &str) -> Option<Arc<Admission>> {
        let bits = token.strip_prefix(name)?.strip_prefix('.')?;
        // `from_str_radix` would take a sign.
        if bits.len() != 32 || !bits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        let bits = u128::from_str_radix(bits, 16).ok()?;
        let found = self.known.read().unwrap_or_else(|e| e.into_inner()).get(&bits).cloned()?;
        (found.pass.deadline > Instant::now()).then_some(found)
    }

    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(|e| e.into_inner()).len()
    }
}
