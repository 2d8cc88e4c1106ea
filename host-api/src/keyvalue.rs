//! `wasi:keyvalue` (`store`, `atomics`, `batch`): a namespace of the tool, kept by the gateway.
//!
//! Keeps only handles here, and the values that a compare-and-swap saw. The gateway enforces quotas and atomicity.

mod bindings;
#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bindings::{
    atomics::{self, CasError},
    batch,
    store::{self, Error, KeyResponse},
};
use cofferdam_contract::{
    Problem,
    uplink::{KeyValueRequest, KeyValueResponse, MAX_KEY_BYTES, MAX_VALUE_BYTES, REFUSED_HEADER, RefusedBy},
};
use wasmtime::component::{Linker, Resource};

use crate::{
    capabilities::Capability,
    failure::Failure,
    hold::Hold,
    sandbox::{Sandbox, SandboxView},
    stdio::Stdio,
    wasi::HasSandbox,
};

/// The longest answer from the gateway.
const MAX_ANSWER: usize = 4 << 20;
/// The most keys of one batch, and the most bytes of the values that one reads.
const MAX_BATCH: usize = 256;
const MAX_BATCH_BYTES: usize = 8 << 20;

pub type KeyValueFailure = Failure<Error>;

/// An open bucket, by name.
pub struct Bucket(String);

/// A compare-and-swap in progress.
pub struct Cas {
    bucket: String,
    key: String,
    seen: Option<Vec<u8>>,
    _held: Hold,
}

/// `wasi:keyvalue`.
pub(crate) struct KeyValue;

impl<T: SandboxView + 'static> Capability<T> for KeyValue {
    fn imports(&self) -> &'static [&'static str] {
        &["wasi:keyvalue/store@0.2.0-draft2", "wasi:keyvalue/atomics@0.2.0-draft2", "wasi:keyvalue/batch@0.2.0-draft2"]
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        store::add_to_linker::<T, HasSandbox>(linker, T::sandbox)?;
        atomics::add_to_linker::<T, HasSandbox>(linker, T::sandbox)?;
        batch::add_to_linker::<T, HasSandbox>(linker, T::sandbox)
    }
}

fn other(text: impl ToString) -> KeyValueFailure {
    Failure::Guest(Error::Other(text.to_string()))
}

fn checked_key(key: String) -> Result<String, KeyValueFailure> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(other(format!("a key has 1 to {MAX_KEY_BYTES} bytes, not {}", key.len())));
    }
    Ok(key)
}

fn encoded(value: &[u8]) -> Result<String, KeyValueFailure> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(other(format!("a value has at most {MAX_VALUE_BYTES} bytes, not {}", value.len())));
    }
    Ok(STANDARD.encode(value))
}

fn small(keys: usize) -> Result<(), KeyValueFailure> {
    if keys > MAX_BATCH { Err(other(format!("a batch has at most {MAX_BATCH} keys, not {keys}"))) } else { Ok(()) }
}

fn missing() -> KeyValueFailure {
    other("the gateway's answer lacks what was asked for")
}

impl Sandbox {
    fn keyvalue(&mut self, request: &KeyValueRequest) -> Result<KeyValueResponse, KeyValueFailure> {
        let gateway = self.gateway.clone().ok_or(Failure::Guest(Error::AccessDenied))?;
        let json = serde_json::to_vec(request).map_err(other)?;
        let asked = gateway.post("/keyvalue", json.into(), MAX_ANSWER);
        let (head, body) = self.interrupt.block_on(asked)?.map_err(other)?.into_parts();
        if head.status.is_success() && !head.headers.contains_key(REFUSED_HEADER) {
            return serde_json::from_slice(&body).map_err(other);
        }
        let problem = serde_json::from_slice::<Problem>(&body).ok();
        let detail = problem.map_or_else(|| format!("the gateway answered {}", head.status), |problem| problem.detail);
        if head.headers.get(REFUSED_HEADER).is_some_and(|by| by == RefusedBy::Policy.as_str()) {
            // The guest's error has no text, so log the detail.
            self.output.write_text(Stdio::Stderr, &format!("gateway: {detail}\n"))?;
            return Err(Failure::Guest(Error::AccessDenied));
        }
        Err(other(detail))
    }

    fn bucket(&mut self, bucket: &Resource<Bucket>) -> Result<String, KeyValueFailure> {
        Ok(self.table.get(bucket)?.0.clone())
    }

    fn get_value(&mut self, bucket: String, key: String) -> Result<Option<Vec<u8>>, KeyValueFailure> {
        let answer = self.keyvalue(&KeyValueRequest::Get { bucket, key: checked_key(key)? })?;
        answer.value.map(|value| STANDARD.decode(value)).transpose().map_err(other)
    }

    fn set_value(&mut self, bucket: String, key: String, value: &[u8]) -> Result<(), KeyValueFailure> {
        let request = KeyValueRequest::Set { bucket, key: checked_key(key)?, value: encoded(value)? };
        self.keyvalue(&request).map(drop)
    }

    fn delete_value(&mut self, bucket: String, key: String) -> Result<(), KeyValueFailure> {
        self.keyvalue(&KeyValueRequest::Delete { bucket, key: checked_key(key)? }).map(drop)
    }

    fn look(&mut self, bucket: String, key: String) -> Result<Resource<Cas>, KeyValueFailure> {
        let seen = self.get_value(bucket.clone(), key.clone())?;
        let _held = self.held.hold(seen.as_ref().map_or(0, Vec::len))?;
        Ok(self.push(Cas { bucket, key, seen, _held })?)
    }

    /// Returns true if the value was swapped.
    fn try_swap(&mut self, cas: &Cas, value: &[u8]) -> Result<bool, KeyValueFailure> {
        let answer = self.keyvalue(&KeyValueRequest::CompareAndSwap {
            bucket: cas.bucket.clone(),
            key: cas.key.clone(),
            old: cas.seen.as_ref().map(|seen| STANDARD.encode(seen)),
            new: encoded(value)?,
        })?;
        answer.swapped.ok_or_else(missing)
    }
}

impl store::Host for Sandbox {
    fn convert_error(&mut self, failure: KeyValueFailure) -> wasmtime::Result<Error> {
        failure.convert()
    }

    fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, KeyValueFailure> {
        if identifier.len() > MAX_KEY_BYTES {
            return Err(Failure::Guest(Error::NoSuchStore));
        }
        Ok(self.push(Bucket(identifier))?)
    }
}

impl store::HostBucket for Sandbox {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>, KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        self.get_value(bucket, key)
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<(), KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        self.set_value(bucket, key, &value)
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<(), KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        self.delete_value(bucket, key)
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool, KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        self.keyvalue(&KeyValueRequest::Exists { bucket, key: checked_key(key)? })?.exists.ok_or_else(missing)
    }

    fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Result<KeyResponse, KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        if cursor.as_ref().is_some_and(|cursor| cursor.len() > 2 * MAX_KEY_BYTES) {
            return Err(other("there is no such cursor"));
        }
        let KeyValueResponse { keys, cursor, .. } = self.keyvalue(&KeyValueRequest::ListKeys { bucket, cursor })?;
        Ok(KeyResponse { keys, cursor })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Sandbox {
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Result<i64, KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        self.keyvalue(&KeyValueRequest::Increment { bucket, key: checked_key(key)?, delta })?.number.ok_or_else(missing)
    }

    fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> wasmtime::Result<Result<(), CasError>> {
        let cas = self.table.delete(cas)?;
        let swapped = match self.try_swap(&cas, &value) {
            Ok(true) => return Ok(Ok(())),
            Ok(false) => self.look(cas.bucket, cas.key),
            Err(failure) => Err(failure),
        };
        Ok(Err(match swapped {
            Ok(again) => CasError::CasFailed(again),
            Err(failure) => CasError::StoreError(failure.convert()?),
        }))
    }
}

impl atomics::HostCas for Sandbox {
    fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Resource<Cas>, KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        self.look(bucket, key)
    }

    fn current(&mut self, cas: Resource<Cas>) -> Result<Option<Vec<u8>>, KeyValueFailure> {
        Ok(self.table.get(&cas)?.seen.clone())
    }

    fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

type Pairs = Vec<Option<(String, Vec<u8>)>>;

impl batch::Host for Sandbox {
    fn get_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<Pairs, KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        small(keys.len())?;
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let value = self.get_value(bucket.clone(), key.clone())?;
            bytes += value.as_ref().map_or(0, Vec::len);
            if bytes > MAX_BATCH_BYTES {
                return Err(other(format!("a batch reads at most {MAX_BATCH_BYTES} bytes")));
            }
            pairs.push(value.map(|value| (key, value)));
        }
        Ok(pairs)
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Result<(), KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        small(pairs.len())?;
        pairs.into_iter().try_for_each(|(key, value)| self.set_value(bucket.clone(), key, &value))
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<(), KeyValueFailure> {
        let bucket = self.bucket(&bucket)?;
        small(keys.len())?;
        keys.into_iter().try_for_each(|key| self.delete_value(bucket.clone(), key))
    }
}
