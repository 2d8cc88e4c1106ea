//! Idempotency keys: the same request under the same key is carried out once, and answered with what became of it.

use cofferdam_contract::Problem;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::auth::hex;
use crate::store::{OnceKey, OnceRow};

const MAX_KEY: usize = 255;

/// The key of a request, where it has one.
#[derive(Debug, Clone, Default)]
pub struct Once(Option<OnceKey>);

impl Once {
    /// For a request without a key.
    pub fn none() -> Self {
        Self(None)
    }

    /// `request` is everything that makes it another one: what is to be done, with which agent, and the body.
    ///
    /// # Errors
    /// A key that cannot be.
    pub fn new(key: Option<&str>, request: &impl Serialize) -> Result<Self, Error> {
        let Some(key) = key else { return Ok(Self(None)) };
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            let detail = format!("Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters");
            return Err(Problem::invalid(detail).into());
        }
        let body = serde_json::to_vec(request).map_err(|e| Error::Row(e.to_string()))?;
        Ok(Self(Some(OnceKey { name: key.to_owned(), request: hex(&Sha256::digest(&body)) })))
    }

    pub(super) fn key(&self) -> Option<&OnceKey> {
        self.0.as_ref()
    }

    /// Whether what the key was used for before is this request.
    pub(super) fn check(&self, before: &OnceRow) -> Result<(), Error> {
        if self.0.as_ref().is_some_and(|key| key.request == before.request) {
            return Ok(());
        }
        let detail = "This Idempotency-Key was used with another request; use a new key for each request.";
        Err(Problem::conflict(detail).into())
    }
}
