//! Upload links: their holder may send one archive for one deployment, as with a presigned S3 URL. A token is encrypted, not
//! only signed, so it shows neither organization nor agent. Tokens are never logged, and errors do not say why a token is
//! invalid.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use cofferdam_contract::{AgentId, DeploymentId, OrganizationId};
use cofferdam_core::{Secret, Vault, random};

use crate::Error;

const NONCE: usize = 24;
/// Longer than any token made here; longer ones are not decoded.
const MAX_TOKEN: usize = 512;

/// The content of a link's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub organization: OrganizationId,
    pub agent: AgentId,
    pub deployment: DeploymentId,
    /// Unix time in seconds.
    pub expires_at: i64,
}

/// Makes and opens tokens.
pub struct Links {
    cipher: XChaCha20Poly1305,
}

impl Links {
    pub fn new(vault: &Vault) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&vault.derive("upload links").into()) }
    }

    /// The last segment of a link's path.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn token(&self, ticket: &Ticket) -> Result<Secret, Error> {
        let Ticket { organization, agent, deployment, expires_at } = ticket;
        let text = format!("{expires_at}\n{organization}\n{agent}\n{deployment}");
        let nonce = random::<NONCE>()?;
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), text.as_bytes());
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.map_err(|_| Error::Seal)?);
        Ok(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Opens a token that was made with this key. Does not check the expiry: a resumed upload may outlive its link.
    pub fn open(&self, token: &str) -> Option<Ticket> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
        let text = self.cipher.decrypt(XNonce::from_slice(nonce), sealed).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut parts = text.split('\n');
        let ticket = Ticket {
            expires_at: parts.next()?.parse().ok()?,
            organization: OrganizationId::parse(parts.next()?).ok()?,
            agent: AgentId::parse(parts.next()?).ok()?,
            deployment: DeploymentId::parse(parts.next()?).ok()?,
        };
        parts.next().is_none().then_some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(key: &str) -> Links {
        let key = Secret::new(format!("{key}102132435465768798a9bacbdcedfe").repeat(2));
        Links::new(&Vault::open(Some(&key), std::path::Path::new("/nonexistent")).unwrap())
    }

    fn ticket() -> Ticket {
        Ticket {
            organization: OrganizationId::default_organization(),
            agent: AgentId::parse("hello").unwrap(),
            deployment: DeploymentId::from_random(7),
            expires_at: 1_800_000_000,
        }
    }

    #[test]
    fn a_link_opens_with_its_key_only_and_says_nothing_itself() {
        let links_a = links("ab");
        let token = links_a.token(&ticket()).unwrap();
        assert_eq!(links_a.open(token.expose()), Some(ticket()));
        assert_eq!(links("cd").open(token.expose()), None);
        assert_ne!(links_a.token(&ticket()).unwrap(), token, "two links of one deployment differ");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"hello"));
        assert!(token.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn no_changed_bit_is_taken() {
        let links = links("ab");
        let token = links.token(&ticket()).unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(links.open(&BASE64_URL_SAFE_NO_PAD.encode(changed)), None, "bit {at}");
        }
        for length in 0..token.expose().len() {
            assert_eq!(links.open(&token.expose()[..length]), None, "{length}");
        }
        for text in ["", "é", "a b", "../x", &"A".repeat(600), &format!("{}=", token.expose())] {
            assert_eq!(links.open(text), None, "{text}");
        }
    }
}
