//! Idempotency keys: the same request under the same key is carried out once, and later answered with its result.

use cofferdam_contract::Problem;
use cofferdam_store::{OnceKey, OnceRow};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Error;

/// The longest key, in bytes.
const MAX_KEY: usize = 255;

/// The idempotency key of a request, if it has one.
#[derive(Debug, Clone, Default)]
pub struct Once(Option<OnceKey>);

impl Once {
    /// For a request without a key.
    pub fn none() -> Self {
        Self(None)
    }

    /// `request` holds everything that tells two requests apart: the operation, the agent and the body.
    ///
    /// # Errors
    /// [`Problem::invalid`] for an invalid key.
    pub fn new(key: Option<&str>, request: &impl Serialize) -> Result<Self, Error> {
        let Some(key) = key else { return Ok(Self(None)) };
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            let detail = format!("Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters");
            return Err(Problem::invalid(detail).into());
        }
        let body = serde_json::to_vec(request).map_err(|source| Error::Encode { what: "a request", source })?;
        Ok(Self(Some(OnceKey { name: key.to_owned(), request: hex::encode(Sha256::digest(&body)) })))
    }

    pub(crate) fn key(&self) -> Option<&OnceKey> {
        self.0.as_ref()
    }

    /// Checks that the key was used for this same request before.
    pub(crate) fn check(&self, before: &OnceRow) -> Result<(), Error> {
        if self.0.as_ref().is_some_and(|key| key.request == before.request) {
            return Ok(());
        }
        let detail = "This Idempotency-Key was used with another request; use a new key for each request.";
        Err(Problem::conflict(detail).into())
    }
}
