//! `fields`: header names and values, checked on entry and bounded in number and bytes.
//!
//! Names are lower case, as in HTTP/2. Guests may not set headers that affect the connection itself.

use std::sync::Arc;

use cofferdam_contract::{LimitName, uplink::RESERVED_PREFIX};
use http::{HeaderMap, HeaderName, HeaderValue};
use wasmtime::component::Resource;

use super::{
    HeaderFailure,
    bindings::types::{HeaderError, HostFields},
};
use crate::{
    hold::{Held, Hold},
    sandbox::{Sandbox, Stop},
};

/// The most entries of one `fields`. More than a request may have, so that too many get an error code and not a trap.
const MAX_ENTRIES: usize = 512;
const MAX_BYTES: usize = 256 << 10;
/// The cost of an entry besides its bytes.
const ENTRY_BYTES: usize = 64;

pub struct Fields {
    map: Arc<HeaderMap>,
    mutable: bool,
    hold: Hold,
}

/// Total bytes of names and values.
pub(super) fn bytes(map: &HeaderMap) -> usize {
    map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// True for headers that neither side of an exchange may set.
pub(super) fn forbidden(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade" | "host" | "http2-settings" | "expect"
    ) || name.starts_with("proxy-")
        || name.starts_with(RESERVED_PREFIX)
}

fn name(text: &str) -> Result<HeaderName, HeaderError> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| HeaderError::InvalidSyntax)?;
    if forbidden(&name) { Err(HeaderError::Forbidden) } else { Ok(name) }
}

fn value(bytes: &[u8]) -> Result<HeaderValue, HeaderError> {
    HeaderValue::from_bytes(bytes).map_err(|_| HeaderError::InvalidSyntax)
}

impl Fields {
    pub(super) fn new(map: Arc<HeaderMap>, mutable: bool, held: &Held) -> Result<Self, Stop> {
        let hold = held.hold(bytes(&map) + map.len() * ENTRY_BYTES)?;
        Ok(Self { map, mutable, hold })
    }

    pub(super) fn into_parts(self) -> (Arc<HeaderMap>, Hold) {
        (self.map, self.hold)
    }

    /// Sets or appends values for a name.
    fn put(&mut self, text: &str, values: &[Vec<u8>], replace: bool) -> Result<(), HeaderFailure> {
        if !self.mutable {
            return Err(HeaderError::Immutable.into());
        }
        let name = name(text)?;
        let values = values.iter().map(|bytes| value(bytes)).collect::<Result<Vec<_>, _>>()?;
        let cost = |value: &HeaderValue| name.as_str().len() + value.len();
        let (mut entries, mut size) = (self.map.len(), bytes(&self.map));
        if replace {
            for old in self.map.get_all(&name) {
                (entries, size) = (entries - 1, size - cost(old));
            }
        }
        entries += values.len();
        size += values.iter().map(cost).sum::<usize>();
        if entries > MAX_ENTRIES || size > MAX_BYTES {
            return Err(Stop(LimitName::HostMemory).into());
        }
        self.hold.resize(size + entries * ENTRY_BYTES)?;
        let map = Arc::make_mut(&mut self.map);
        if replace {
            map.remove(&name);
        }
        for value in values {
            map.append(&name, value);
        }
        Ok(())
    }
}

impl HostFields for Sandbox {
    fn new(&mut self) -> wasmtime::Result<Resource<Fields>> {
        let fields = Fields::new(Arc::default(), true, &self.held)?;
        self.push(fields)
    }

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> Result<Resource<Fields>, HeaderFailure> {
        if entries.len() > MAX_ENTRIES {
            return Err(Stop(LimitName::HostMemory).into());
        }
        let mut fields = Fields::new(Arc::default(), true, &self.held)?;
        for (name, value) in entries {
            fields.put(&name, &[value], false)?;
        }
        Ok(self.push(fields)?)
    }

    fn get(&mut self, fields: Resource<Fields>, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        let values = self.table.get(&fields)?.map.get_all(name.as_str());
        Ok(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    fn has(&mut self, fields: Resource<Fields>, name: String) -> wasmtime::Result<bool> {
        Ok(self.table.get(&fields)?.map.contains_key(name.as_str()))
    }

    fn set(&mut self, fields: Resource<Fields>, name: String, values: Vec<Vec<u8>>) -> Result<(), HeaderFailure> {
        self.table.get_mut(&fields)?.put(&name, &values, true)
    }

    fn delete(&mut self, fields: Resource<Fields>, name: String) -> Result<(), HeaderFailure> {
        self.table.get_mut(&fields)?.put(&name, &[], true)
    }

    fn append(&mut self, fields: Resource<Fields>, name: String, value: Vec<u8>) -> Result<(), HeaderFailure> {
        self.table.get_mut(&fields)?.put(&name, &[value], false)
    }

    fn entries(&mut self, fields: Resource<Fields>) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        let map = &self.table.get(&fields)?.map;
        Ok(map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect())
    }

    fn clone(&mut self, fields: Resource<Fields>) -> wasmtime::Result<Resource<Fields>> {
        let map = Arc::clone(&self.table.get(&fields)?.map);
        let copy = Fields::new(map, true, &self.held)?;
        self.push(copy)
    }

    fn drop(&mut self, fields: Resource<Fields>) -> wasmtime::Result<()> {
        self.table.delete(fields)?;
        Ok(())
    }
}
