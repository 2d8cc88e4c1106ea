//! Encryption at rest: XChaCha20-Poly1305 with the operator's key. Each value is bound to a context, so a row that was
//! moved or changed in the database does not open. An error never shows a key or a value.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::private::{read_private, write_private};
use crate::settings::check_different;
use crate::{ConfigError, RandomError, Secret, random};

const NONCE: usize = 24;
/// The first part of a sealed value's text; the mark of its key follows.
const VERSION: &str = "v1";

type Key = Zeroizing<[u8; 32]>;

/// Why the vault cannot be opened, or a value cannot be sealed or unsealed. Never shows a key or a value.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The operator's: the key is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    /// This process's key does not open the value.
    #[error("{0}")]
    Sealed(&'static str),
    #[error(transparent)]
    Random(#[from] RandomError),
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::File { path, source }
}

/// Seals and unseals values with the operator's key.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    key: Key,
    /// Identifies the key without revealing anything about it.
    mark: String,
}

impl Vault {
    /// Opens the vault with the key of `COFFERDAM_ENCRYPTION_KEY`, or else with the one in the data folder, which is
    /// created if it does not exist.
    ///
    /// # Errors
    /// The key is invalid, or its file cannot be read or written.
    pub fn open(given: Option<&Secret>, data_dir: &Path) -> Result<Self, VaultError> {
        let key = match given {
            Some(text) => {
                let invalid = |reason: String| ConfigError::value("COFFERDAM_ENCRYPTION_KEY", reason);
                let key = parse(text.expose());
                let key = key.ok_or_else(|| invalid("is not 32 bytes, as 64 hex digits or in base64".to_owned()))?;
                check_different(key.as_slice()).map_err(invalid)?;
                key
            }
            None => read_or_make(&data_dir.join("encryption.key"))?,
        };
        let cipher = XChaCha20Poly1305::new(key.as_slice().into());
        let vault = Self { cipher, key, mark: String::new() };
        let mark = hex::encode(vault.derive("mark").get(..4).unwrap_or_default());
        Ok(Self { mark, ..vault })
    }

    /// Derives a key for another use. The vault's key cannot be computed from it.
    pub fn derive(&self, what: &str) -> [u8; 32] {
        Sha256::new_with_prefix(self.key.as_slice()).chain_update(b"\0cofferdam\0").chain_update(what).finalize().into()
    }

    /// Encrypts a value and binds it to `context`.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn seal(&self, context: &str, value: &[u8]) -> Result<String, VaultError> {
        let nonce = random::<NONCE>()?;
        let payload = Payload { msg: value, aad: context.as_bytes() };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.map_err(|_| VaultError::Sealed("a value cannot be encrypted"))?);
        Ok(format!("{VERSION}.{}.{}", self.mark, BASE64_STANDARD.encode(bytes)))
    }

    /// Decrypts a value that is bound to `context`.
    ///
    /// # Errors
    /// It was sealed with another key or for another context, or is damaged.
    pub fn unseal(&self, context: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let mut parts = sealed.splitn(3, '.');
        let (version, mark, text) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        if version != Some(VERSION) {
            return Err(VaultError::Sealed("a sealed value has a format that this version does not know"));
        }
        if mark != Some(self.mark.as_str()) {
            return Err(VaultError::Sealed(
                "a value was sealed with another key: COFFERDAM_ENCRYPTION_KEY, or encryption.key in the data folder, \
                 has changed",
            ));
        }
        let damaged = || VaultError::Sealed("a sealed value is damaged, or was moved");
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| damaged())?;
        let (nonce, value) = bytes.split_at_checked(NONCE).ok_or_else(damaged)?;
        let payload = Payload { msg: value, aad: context.as_bytes() };
        self.cipher.decrypt(XNonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| damaged())
    }
}

/// Parses a key: 64 hex digits, or 32 bytes in base64.
fn parse(text: &str) -> Option<Key> {
    let text = text.trim();
    let bytes = if text.len() == 64 { hex::decode(text).ok()? } else { BASE64_STANDARD.decode(text).ok()? };
    let bytes = Zeroizing::new(bytes);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
}

fn read_or_make(path: &Path) -> Result<Key, VaultError> {
    if let Some(text) = read_private(path).map_err(file(path))? {
        return parse(&text).ok_or_else(|| file(path)(no_key(text.trim().len())));
    }
    let key: Key = Zeroizing::new(random()?);
    // Never overwrites a key: the values that it sealed would be lost.
    write_private(path, &Zeroizing::new(format!("{}\n", hex::encode(key.as_slice())))).map_err(file(path))?;
    Ok(key)
}

/// The file holds no key. A new one in its place would lose what the old one sealed, which the operator decides.
fn no_key(length: usize) -> std::io::Error {
    let found = match length {
        0 => "is empty".to_owned(),
        _ => format!("is not a key of 64 hex digits, or 32 bytes in base64 (it has {length} characters)"),
    };
    let advice = "restore a backup of it; if there is none, delete the file: a new key is made, and secrets that were stored \
                  with the old one are lost";
    std::io::Error::other(format!("{found}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_value_opens_with_its_key_in_its_place_only() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(None, folder.path()).unwrap();
        let sealed = vault.seal("default/a", b"the value").unwrap();
        assert!(!sealed.contains("value") && sealed != vault.seal("default/a", b"the value").unwrap());
        assert_eq!(vault.unseal("default/a", &sealed).unwrap().as_slice(), b"the value");
        assert!(vault.unseal("default/b", &sealed).is_err(), "moved");
        let mut damaged = sealed.clone();
        damaged.replace_range(30..31, if &sealed[30..31] == "A" { "B" } else { "A" });
        assert!(vault.unseal("default/a", &damaged).is_err());
        for text in ["", "v1", "v2.x.y", &sealed[..20]] {
            assert!(vault.unseal("default/a", text).is_err(), "{text}");
        }
        let again = Vault::open(None, folder.path()).unwrap();
        assert_eq!(again.unseal("default/a", &sealed).unwrap().as_slice(), b"the value", "the key is kept");
        assert_eq!(again.derive("x"), vault.derive("x"));
        assert_ne!(again.derive("x"), vault.derive("y"));
        let mode = folder.path().join("encryption.key").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = Vault::open(Some(&Secret::new("0123456789abcdef".repeat(4))), folder.path()).unwrap();
        assert!(other.unseal("default/a", &sealed).unwrap_err().to_string().contains("another key"));
    }

    #[test]
    fn an_invalid_key_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (7..39).collect();
        let base64 = BASE64_STANDARD.encode(&bytes);
        let same =
            [base64.as_str(), &hex::encode(&bytes)].map(|text| Vault::open(Some(&Secret::new(text)), folder.path()));
        let [a, b] = same.map(|vault| vault.unwrap().derive("x"));
        assert_eq!(a, b);
        for text in ["short", &"07".repeat(32), &"zz".repeat(32), &"é".repeat(32), &base64[..40]] {
            let error = Vault::open(Some(&Secret::new(text)), folder.path()).err().unwrap();
            assert!(!crate::chain(&error).contains(text), "{error}");
        }
        let path = folder.path().join("encryption.key");
        for (text, part) in [("junk", "4 characters"), ("", "is empty"), ("\n", "is empty")] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let said = Vault::open(None, folder.path()).err().unwrap().to_string();
            assert!(said.contains(part) && said.contains("restore") && said.contains("encryption.key"), "{said}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "a key that is broken is not replaced");
        }
    }
}
