//! Bedrock's form of Messages: the model is in the path, the version and the betas are in the body, errors have a shape of
//! their own. Pure.

use bytes::Bytes;
use cofferdam_dialects::{Dialect, Failure, error_body};
use http::HeaderMap;
use serde::Deserialize;

use crate::eventstream;
use crate::members::{changed, members};

/// The version that the body has to name.
const VERSION: &str = "\"anthropic_version\":\"bedrock-2023-05-31\"";
/// Betas that only label the caller at Anthropic's own door; Bedrock refuses them.
const LABELS: &[&str] = &["claude-code-", "oauth-"];
/// The most betas of one request.
const MAX_BETAS: usize = 64;

/// The body as Bedrock takes it: without model and stream, with its version, and with the caller's betas. All other bytes
/// stay.
///
/// # Errors
/// The body is no object.
pub(crate) fn body(body: &[u8], headers: &HeaderMap) -> Result<Bytes, &'static str> {
    let found = members(body)?;
    let lines = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    let mut betas: Vec<String> = lines.flat_map(|line| line.split(',')).map(|beta| beta.trim().to_owned()).collect();
    if let Some(written) = found.iter().find(|member| member.name == "anthropic_beta") {
        let written: Vec<String> =
            serde_json::from_slice(written.value).map_err(|_| "anthropic_beta is no list of texts")?;
        betas.extend(written);
    }
    let label = |beta: &String| LABELS.iter().any(|label| beta.starts_with(label));
    betas.retain(|beta| !beta.is_empty() && !label(beta));
    let mut seen = std::collections::HashSet::new();
    betas.retain(|beta| seen.insert(beta.clone()));
    betas.truncate(MAX_BETAS);
    let mut added = vec![VERSION.to_owned()];
    if !betas.is_empty() {
        let list = serde_json::to_string(&betas).map_err(|_| "anthropic-beta cannot be written")?;
        added.push(format!("\"anthropic_beta\":{list}"));
    }
    let gone = |name: &str| matches!(name, "model" | "stream" | "anthropic_version" | "anthropic_beta");
    Ok(Bytes::from(changed(body, &found, gone, &added)))
}

#[derive(Deserialize)]
struct Error {
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// An error document of Bedrock's as one of Messages. `name`: the value of `x-amzn-errortype`.
pub(crate) fn error(status: u16, name: Option<&str>, body: &[u8]) -> Bytes {
    let name = name.map(|name| name.split([':', ';']).next().unwrap_or_default());
    let kind = eventstream::kind(name.unwrap_or_default(), Some(status));
    let failure = Failure::read(status, body);
    let own = serde_json::from_slice::<Error>(body).ok().and_then(|error| error.message);
    let message = own.or(failure.message);
    let message = message.as_deref().unwrap_or("Bedrock gives no reason.");
    let message: String = message.chars().take(1_024).collect();
    Bytes::from(error_body(Dialect::Messages, kind, &message, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, betas: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for beta in betas {
            headers.append("anthropic-beta", beta.parse().unwrap());
        }
        String::from_utf8(body(text.as_bytes(), &headers).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_body_is_bedrocks_and_otherwise_the_callers() {
        assert_eq!(
            written("{\"model\":\"m\",\"max_tokens\":1e2, \"stream\":true,\n\"x\":[1 ]}", &[]),
            "{\"anthropic_version\":\"bedrock-2023-05-31\",\"max_tokens\":1e2,\n\"x\":[1 ]}"
        );
        assert_eq!(
            written(
                "{\"anthropic_version\":\"2023-06-01\",\"anthropic_beta\":[\"c-1\",\"a-1\"],\"model\":\"m\"}",
                &["a-1, b-\"1", "claude-code-20250219,oauth-2025-04-20"]
            ),
            r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-1","b-\"1","c-1"]}"#
        );
        assert!(body(b"[]", &HeaderMap::new()).is_err());
        assert!(body(b"{\"anthropic_beta\":1}", &HeaderMap::new()).is_err());
    }

    #[test]
    fn its_errors_become_those_of_messages() {
        for (status, name, text, kind) in [
            (429, Some("ThrottlingException:http://x"), "{\"message\":\"slow\"}", "rate_limit_error"),
            (400, Some("ValidationException"), "{\"message\":\"slow\"}", "invalid_request_error"),
            (403, None, "{\"Message\":\"slow\"}", "permission_error"),
            (503, Some("ServiceUnavailableException"), "{\"message\":\"slow\"}", "overloaded_error"),
            (500, None, "<html>", "api_error"),
        ] {
            let read: serde_json::Value = serde_json::from_slice(&error(status, name, text.as_bytes())).unwrap();
            assert_eq!(read["error"]["type"], kind);
            let message = if text.starts_with('<') { "Bedrock gives no reason." } else { "slow" };
            assert_eq!(read["error"]["message"], message);
        }
    }
}
