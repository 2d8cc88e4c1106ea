//! The server that `cofferdam tool` and `cofferdam secret` talk to: the one that the environment names, else the one on
//! this machine, with the key that its data folder has.

use std::io::ErrorKind;

use anyhow::{Context, bail};
use http::{HeaderName, HeaderValue};

use crate::folders::{data_dir, env};
use crate::run::wire::{Address, Server};

const HERE: &str = "http://127.0.0.1:8080";

fn set(name: &str) -> Option<String> {
    env(name).filter(|text| !text.is_empty())
}

/// The header with which a client proves itself.
pub fn key_header(key: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(key.trim()).context("COFFERDAM_API_KEY")?;
    value.set_sensitive(true);
    Ok((HeaderName::from_static("x-api-key"), value))
}

/// # Errors
/// An address that is none, or no key for the server on this machine.
pub fn find() -> anyhow::Result<Server> {
    let url = set("COFFERDAM_URL");
    let key = match set("COFFERDAM_API_KEY") {
        Some(key) => key,
        None if url.is_some() => bail!("COFFERDAM_URL needs COFFERDAM_API_KEY, a key of that server"),
        None => {
            let path = data_dir()?.join("api-key");
            std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "no key: set COFFERDAM_URL and COFFERDAM_API_KEY, or start `cofferdam serve` on this machine \
                     (looked for {})",
                    path.display()
                )
            })?
        }
    };
    let address = Address::parse(url.as_deref().unwrap_or(HERE))?;
    Ok(Server { address, headers: vec![key_header(&key)?] })
}

/// Runs one command against the server.
///
/// # Errors
/// What the command's future says.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let done = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work);
    let nobody = |error: &anyhow::Error| {
        error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|e| e.kind() == ErrorKind::ConnectionRefused)
    };
    match done {
        Err(error) if nobody(&error) => {
            Err(error.context("nobody listens there; start `cofferdam serve`, or set COFFERDAM_URL to another server"))
        }
        done => done,
    }
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
