//! The event that tells a caller in the middle of a stream that it failed, in the caller's protocol.

use cofferdam_dialects::{Dialect, Kind, error_body, sse};

/// Appends the event to a stream whose last event is whole.
pub(crate) fn failure(voice: Dialect, kind: Kind, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    match voice {
        Dialect::Chat => sse::write(&mut out, "", &error_body(voice, kind, message, None)),
        Dialect::Messages => sse::write(&mut out, "error", &error_body(voice, kind, message, None)),
        Dialect::Responses => {
            let code = kind.code().unwrap_or("server_error");
            let data = serde_json::json!({"type": "error", "code": code, "message": message, "param": null, "sequence_number": 0});
            sse::write(&mut out, "error", data.to_string().as_bytes());
        }
    }
    out
}
