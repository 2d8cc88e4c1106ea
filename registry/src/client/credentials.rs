//! Credentials for a registry. They never appear in `Debug` output, messages or logs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The user name that marks an identity token in docker's config.
pub(super) const TOKEN_USER: &str = "<token>";

#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    /// A user name and a password. Amazon's ECR token is the password of `AWS`.
    Basic { username: String, password: Zeroizing<String> },
    /// A refresh token of the registry's token service (`identitytoken` in docker's config).
    Identity(Zeroizing<String>),
    /// A bearer token that was obtained elsewhere (`registrytoken`).
    Bearer(Zeroizing<String>),
}

/// A text in a JSON document that must be wiped from memory and never shown.
#[derive(Clone, serde::Deserialize)]
#[serde(from = "String")]
pub(super) struct Hidden(pub Zeroizing<String>);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Credentials {
    /// A user name and a password, without the line end that `cat FILE` and `echo` leave: a password has none.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        let (mut username, mut password) = (username.into(), Zeroizing::new(password.into()));
        cut_line_end(&mut username);
        cut_line_end(&mut password);
        Self::Basic { username, password }
    }

    /// `user:password` in base64, as in docker's config and ECR's `GetAuthorizationToken`.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let pair = std::str::from_utf8(&bytes).ok()?.trim_end_matches('\0');
        let (username, password) = pair.split_once(':')?;
        if username.is_empty() {
            return None;
        }
        Some(Self::basic(username, password))
    }

    pub fn is_anonymous(&self) -> bool {
        *self == Self::Anonymous
    }

    /// The `Authorization` header for basic authentication.
    pub(super) fn basic_header(&self) -> Option<Zeroizing<String>> {
        let Self::Basic { username, password } = self else { return None };
        let pair = Zeroizing::new(format!("{username}:{}", password.as_str()));
        Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
    }

    /// Texts that must never be shown.
    pub(super) fn secrets(&self) -> Vec<Zeroizing<String>> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Basic { password, .. } => {
                let encoded =
                    self.basic_header().map(|text| Zeroizing::new(text.trim_start_matches("Basic ").to_owned()));
                encoded.into_iter().chain([password.clone()]).collect()
            }
            Self::Identity(token) | Self::Bearer(token) => vec![token.clone()],
        }
    }
}

fn cut_line_end(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(not shown)",
            Self::Identity(_) => "Identity(not shown)",
            Self::Bearer(_) => "Bearer(not shown)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecr_tokens_are_names_and_passwords() {
        let token = STANDARD.encode("AWS:hunter2:with:colons");
        let credentials = Credentials::from_base64(&token).unwrap();
        assert_eq!(credentials, Credentials::basic("AWS", "hunter2:with:colons"));
        assert_eq!(credentials.basic_header().unwrap().as_str(), format!("Basic {token}"));
        for bad in ["", "%%%", "bm9jb2xvbg==", "Om5vdXNlcg=="] {
            assert_eq!(Credentials::from_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_line_end_is_no_part_of_a_password() {
        let wanted = Credentials::basic("robot", "hunter2");
        for password in ["hunter2\n", "hunter2\r\n"] {
            assert_eq!(Credentials::basic("robot\n", password), wanted, "{password:?}");
            assert_eq!(Credentials::from_base64(&STANDARD.encode(format!("robot:{password}"))), Some(wanted.clone()));
        }
        for other in ["hunter2\n\n", "hunter2 ", "hunter2\r", "\nhunter2"] {
            assert_ne!(Credentials::basic("robot", other), wanted, "{other:?}");
        }
    }

    #[test]
    fn nothing_shows_them() {
        for credentials in [
            Credentials::basic("alice", "hunter2"),
            Credentials::Identity(Zeroizing::new("hunter2".into())),
            Credentials::Bearer(Zeroizing::new("hunter2".into())),
        ] {
            let shown = format!("{credentials:?} {:#?}", Some(&credentials));
            assert!(!shown.contains("hunter2") && !shown.contains("alice"), "{shown}");
            assert!(credentials.secrets().iter().any(|secret| secret.as_str() == "hunter2"));
        }
    }
}
