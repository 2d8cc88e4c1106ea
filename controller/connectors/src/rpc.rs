//! JSON-RPC 2.0, as bytes of a server that may be anybody's. Pure. Nothing is read into memory that is not asked for.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The most messages of one batch.
const MAX_BATCH: usize = 100;
/// The longest id of a request of the server that it gets back.
const MAX_ID_BYTES: usize = 256;

/// A message of the server.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// The answer to our request with this id: JSON.
    Result {
        id: u64,
        result: &'a str,
    },
    Error {
        id: Option<u64>,
        code: i64,
        message: String,
    },
    Notification {
        method: Cow<'a, str>,
        params: Option<&'a str>,
    },
    /// Something that it asks of us. The id is JSON.
    Request {
        id: &'a str,
        method: Cow<'a, str>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Failed<'a> {
    code: i64,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

/// The messages of a text: one, or a batch.
///
/// # Errors
/// It is no JSON-RPC.
pub(crate) fn messages(text: &str) -> Result<Vec<Message<'_>>, &'static str> {
    let wrong = "the server's answer is not JSON-RPC 2.0";
    if text.trim_start().starts_with('[') {
        let batch: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| wrong)?;
        return batch.into_iter().take(MAX_BATCH).map(|one| message(one.get()).ok_or(wrong)).collect();
    }
    Ok(vec![message(text).ok_or(wrong)?])
}

fn message(text: &str) -> Option<Message<'_>> {
    let envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    if envelope.jsonrpc.as_deref() != Some("2.0") {
        return None;
    }
    let id = envelope.id.map(RawValue::get).filter(|id| *id != "null");
    match (envelope.method, envelope.result, envelope.error) {
        (Some(method), None, None) => Some(match id {
            Some(id) if id.len() <= MAX_ID_BYTES => Message::Request { id, method },
            Some(_) => return None,
            None => Message::Notification { method, params: envelope.params.map(RawValue::get) },
        }),
        // An id that is not a number is none of ours.
        (None, Some(result), None) => {
            Some(Message::Result { id: id?.parse().unwrap_or(u64::MAX), result: result.get() })
        }
        (None, None, Some(error)) => {
            let failed: Failed<'_> = serde_json::from_str(error.get()).ok()?;
            let id = id.map(|id| id.parse().unwrap_or(u64::MAX));
            Some(Message::Error { id, code: failed.code, message: failed.message.into_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_rpc_is_read() {
        for text in [
            "",
            "null",
            "{}",
            r#"{"id":1,"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"[{"jsonrpc":"2.0","id":1}]"#,
            "<html>",
        ] {
            assert!(messages(text).is_err(), "{text}");
        }
        let read =
            messages(r#" [{"jsonrpc":"2.0","id":7,"result":{"a":[1]}},{"jsonrpc":"2.0","method":"m"}]"#).unwrap();
        assert!(matches!(read[0], Message::Result { id: 7, result: r#"{"a":[1]}"# }), "{read:?}");
        assert!(matches!(read[1], Message::Notification { .. }), "{read:?}");
        let read = messages(r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#).unwrap();
        assert!(matches!(&read[0], Message::Request { id: "\"x\"", .. }), "{read:?}");
        let read = messages(r#"{"jsonrpc":"2.0","id":"7","result":{}}"#).unwrap();
        assert!(matches!(read[0], Message::Result { id: u64::MAX, .. }), "not our 7: {read:?}");
    }
}
