//! A key's text as the credential of its kind. Never shows it, not even in an error.

use std::fmt;

use cofferdam_core::Secret;
use http::HeaderValue;
use serde::Deserialize;

use crate::kind::Kind;

/// The longest key, in bytes. A service account's document has about 2,400.
const MAX_KEY_BYTES: usize = 16 << 10;

/// A credential.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A key or token that a header carries.
    Key(Secret),
    /// A token that goes as `Authorization: Bearer` where the kind's keys go in another header.
    Bearer(Secret),
    /// A key pair of Amazon's, which signs.
    Aws {
        /// Id of the pair.
        access_key_id: Secret,
        /// The secret half.
        secret_access_key: Secret,
        /// The token of a session.
        session_token: Option<Secret>,
    },
    /// A service account of Google's, which is exchanged for tokens.
    GoogleServiceAccount(ServiceAccount),
}

/// A service account of Google's.
#[derive(Clone, Deserialize)]
pub struct ServiceAccount {
    pub(crate) client_email: String,
    pub(crate) private_key: String,
    #[serde(default)]
    pub(crate) private_key_id: Option<String>,
    #[serde(default = "token_uri")]
    pub(crate) token_uri: String,
}

fn token_uri() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[service account]")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AwsDocument {
    #[serde(alias = "AccessKeyId", alias = "aws_access_key_id")]
    access_key_id: String,
    #[serde(alias = "SecretAccessKey", alias = "aws_secret_access_key")]
    secret_access_key: String,
    #[serde(default, alias = "SessionToken", alias = "aws_session_token")]
    session_token: Option<String>,
}

impl Credential {
    /// Reads a key's text. Bedrock takes `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`, the same as JSON, or an API key;
    /// Vertex takes a service account's JSON or an access token; Anthropic a key, or a token with `Bearer ` before it; all
    /// others take a key.
    ///
    /// # Errors
    /// A sentence without the key.
    pub fn parse(kind: Kind, text: &Secret) -> Result<Self, String> {
        let text = text.expose().trim();
        if text.is_empty() || text.len() > MAX_KEY_BYTES {
            return Err(format!("a key has 1 to {MAX_KEY_BYTES} bytes"));
        }
        match kind {
            Kind::Anthropic if text.starts_with("Bearer ") => {
                plain(text.trim_start_matches("Bearer ").trim_start()).map(Self::Bearer)
            }
            Kind::Bedrock if text.starts_with('{') => {
                let read = serde_json::from_str::<AwsDocument>(text);
                let read = read.map_err(|_| "a key in JSON has access_key_id, secret_access_key, session_token")?;
                Self::aws(&read.access_key_id, &read.secret_access_key, read.session_token.as_deref())
            }
            Kind::Bedrock if text.contains(':') => {
                let mut parts = text.splitn(3, ':');
                Self::aws(parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next())
            }
            Kind::Vertex if text.starts_with('{') => {
                let account = serde_json::from_str::<ServiceAccount>(text);
                let account =
                    account.map_err(|_| "a service account's JSON has client_email, private_key and token_uri")?;
                Ok(Self::GoogleServiceAccount(account))
            }
            _ => plain(text).map(Self::Key),
        }
    }

    fn aws(id: &str, secret: &str, token: Option<&str>) -> Result<Self, String> {
        Ok(Self::Aws {
            access_key_id: plain(id)?,
            secret_access_key: plain(secret)?,
            session_token: token.map(plain).transpose()?,
        })
    }

    /// The texts that nobody may be shown.
    pub(crate) fn texts(&self) -> Vec<Secret> {
        match self {
            Self::Key(key) | Self::Bearer(key) => vec![key.clone()],
            Self::Aws { access_key_id, secret_access_key, session_token } => {
                [Some(access_key_id), Some(secret_access_key), session_token.as_ref()]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect()
            }
            // A line of the key's digits is enough to find it.
            Self::GoogleServiceAccount(account) => {
                let lines = account.private_key.lines().filter(|line| !line.starts_with("-----"));
                lines.take(4).map(Secret::new).collect()
            }
        }
    }
}

/// A text that a header can carry.
fn plain(text: &str) -> Result<Secret, String> {
    let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || HeaderValue::from_str(text).is_err() {
        return Err("a key has visible ASCII characters only, and no spaces".to_owned());
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_text_is_read_by_kind() {
        let parse = |kind, text: &str| Credential::parse(kind, &Secret::new(text));
        assert!(matches!(parse(Kind::Openai, " sk-1\n"), Ok(Credential::Key(key)) if key.expose() == "sk-1"));
        assert!(matches!(parse(Kind::Bedrock, "ABSKxyz="), Ok(Credential::Key(_))));
        assert!(
            matches!(parse(Kind::Anthropic, "Bearer tok-1"), Ok(Credential::Bearer(key)) if key.expose() == "tok-1")
        );
        assert!(parse(Kind::Openai, "Bearer tok-1").is_err());
        for text in [
            "AKIDEXAMPLE:wJalr/K7+:to/ken:x",
            r#"{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"wJalr/K7+","SessionToken":"to/ken:x"}"#,
        ] {
            let read = parse(Kind::Bedrock, text).unwrap();
            let shown: Vec<String> = read.texts().iter().map(|text| text.expose().to_owned()).collect();
            assert_eq!(shown, ["AKIDEXAMPLE", "wJalr/K7+", "to/ken:x"]);
            assert!(!format!("{read:?}").contains("wJalr"));
        }
        let account = r#"{"type":"service_account","client_email":"a@b","private_key":"-----BEGIN\nhush\n-----END"}"#;
        assert!(
            matches!(parse(Kind::Vertex, account), Ok(Credential::GoogleServiceAccount(a)) if a.token_uri.starts_with("https://oauth2."))
        );
        assert!(matches!(parse(Kind::Vertex, "ya29.x"), Ok(Credential::Key(_))));
        for (kind, text) in [
            (Kind::Openai, ""),
            (Kind::Openai, "hush canary"),
            (Kind::Openai, "hush\r\nx: y"),
            (Kind::Openai, "h\u{fc}sh"),
            (Kind::Bedrock, "hush:"),
            (Kind::Bedrock, "{\"hush\":1}"),
            (Kind::Vertex, "{\"hush\":1}"),
        ] {
            let why = parse(kind, text).unwrap_err();
            assert!(!why.contains("hush"), "{why}");
        }
        assert!(parse(Kind::Openai, &"x".repeat(MAX_KEY_BYTES + 1)).is_err());
    }
}
