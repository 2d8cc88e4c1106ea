//! Key-value operations in the caller's namespace: one operation a request, within the grant's quotas.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_contract::KeyValueGrant;
use cofferdam_contract::uplink::{KeyValueRequest, KeyValueResponse, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use cofferdam_store::{KeyValueError, Namespace, Store};
use http::{Request, Response};
use hyper::body::Incoming;

use crate::Gateway;
use crate::admission::Admission;
use crate::body::GatewayBody;
use crate::refusal::{Refusal, short};
use crate::serve::{json, read};
use crate::services::{Answer, Service};

/// A request: two values in base64, and names.
const MAX_REQUEST_BYTES: usize = 4 * MAX_VALUE_BYTES;
const MAX_BUCKET_BYTES: usize = 256;
/// Keys in one answer.
const PAGE: usize = 256;

/// Key-value storage.
pub(crate) struct KeyValue;

impl Service for KeyValue {
    fn serves(&self, path: &str) -> bool {
        path == "/keyvalue"
    }

    fn answer<'a>(
        &self,
        gateway: &'a Gateway,
        admission: &'a Arc<Admission>,
        request: Request<Incoming>,
    ) -> Answer<'a> {
        Box::pin(operation(gateway, admission, request))
    }
}

/// Carries out one operation.
///
/// # Errors
/// No grant, a quota, or an invalid request.
async fn operation(
    gateway: &Gateway,
    admission: &Admission,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Refusal> {
    let Some(grant) = &admission.pass.grants.keyvalue else {
        return Err(Refusal::policy("No grant covers key-value operations; grant them with grants.keyvalue."));
    };
    let body = read(request, MAX_REQUEST_BYTES).await?;
    let asked: KeyValueRequest = serde_json::from_slice(&body).map_err(|e| Refusal::malformed(short(&e)))?;
    let pass = &admission.pass;
    // A snippet has its key's own namespace. No tool's name has a colon in it.
    let owner = pass.tool.clone().unwrap_or_else(|| format!("key:{}", pass.caller.key));
    let space = Namespace { organization: &pass.caller.organization, owner: &owner };
    let answer = carry_out(&gateway.store, &space, grant, asked).await.map_err(refusal)?;
    json(&answer)
}

fn refusal(error: KeyValueError) -> Refusal {
    match error {
        KeyValueError::Store(error) => Refusal::internal(&error),
        KeyValueError::Quota(detail) => Refusal::too_large(detail),
        KeyValueError::Value(detail) => Refusal::malformed(detail),
    }
}

async fn carry_out(
    store: &Store,
    space: &Namespace<'_>,
    grant: &KeyValueGrant,
    asked: KeyValueRequest,
) -> Result<KeyValueResponse, KeyValueError> {
    use KeyValueRequest as Asked;
    let none = KeyValueResponse::default();
    Ok(match asked {
        Asked::Get { bucket, key } => {
            let value = store.get_value(space, bucket_name(&bucket)?, key_name(&key)?).await?;
            KeyValueResponse { value, ..none }
        }
        Asked::Exists { bucket, key } => {
            let exists = store.has_value(space, bucket_name(&bucket)?, key_name(&key)?).await?;
            KeyValueResponse { exists: Some(exists), ..none }
        }
        Asked::Set { bucket, key, value } => {
            store.set_value(space, grant, bucket_name(&bucket)?, key_name(&key)?, &normal(&value)?).await?;
            none
        }
        Asked::Delete { bucket, key } => {
            store.delete_value(space, bucket_name(&bucket)?, key_name(&key)?).await?;
            none
        }
        Asked::ListKeys { bucket, cursor } => {
            let after = cursor.as_deref().map(key_name).transpose()?.unwrap_or_default();
            let keys = store.list_values(space, bucket_name(&bucket)?, after, PAGE).await?;
            let cursor = keys.last().filter(|_| keys.len() == PAGE).cloned();
            KeyValueResponse { keys, cursor, ..none }
        }
        Asked::Increment { bucket, key, delta } => {
            let number = store.increment_value(space, grant, bucket_name(&bucket)?, key_name(&key)?, delta).await?;
            KeyValueResponse { number: Some(number), ..none }
        }
        Asked::CompareAndSwap { bucket, key, old, new } => {
            let (old, new) = (old.as_deref().map(normal).transpose()?, normal(&new)?);
            let (bucket, key) = (bucket_name(&bucket)?, key_name(&key)?);
            let (swapped, value) = store.swap_value(space, grant, bucket, key, old.as_deref(), &new).await?;
            KeyValueResponse { swapped: Some(swapped), value, ..none }
        }
    })
}

fn bucket_name(name: &str) -> Result<&str, KeyValueError> {
    if name.len() > MAX_BUCKET_BYTES || name.contains('\0') {
        let detail = format!("bucket: at most {MAX_BUCKET_BYTES} bytes, no NUL");
        return Err(KeyValueError::Value(detail));
    }
    Ok(name)
}

fn key_name(name: &str) -> Result<&str, KeyValueError> {
    if name.is_empty() || name.len() > MAX_KEY_BYTES || name.contains('\0') {
        return Err(KeyValueError::Value(format!("key: 1 to {MAX_KEY_BYTES} bytes, no NUL")));
    }
    Ok(name)
}

/// The value in canonical base64, so that equal values are equal texts.
fn normal(value: &str) -> Result<String, KeyValueError> {
    let bytes = BASE64_STANDARD.decode(value).map_err(|e| KeyValueError::Value(format!("value: not base64: {e}")))?;
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(KeyValueError::Quota(format!("A value has at most {MAX_VALUE_BYTES} bytes.")));
    }
    Ok(BASE64_STANDARD.encode(bytes))
}
