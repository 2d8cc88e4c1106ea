//! Run ids that say where a run is: `run_`, the worker's tag, the key's tag, 128 random bits. So the files of a run are
//! found by any controller, without a table, and only by the key that made it: a forged tag makes it another id.

use cofferdam_contract::RunId;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::clock::random_bits;

const TAG: usize = 8;

/// Eight hex digits that stand for a name.
pub fn tag(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    crate::auth::hex(digest.get(..TAG / 2).unwrap_or_default())
}

/// A new id for a run of the key `key` at the worker with the tag `worker`.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub fn new(worker: &str, key: &str) -> Result<RunId, Error> {
    let text = format!("run_{worker}{}{:032x}", tag(key), random_bits()?);
    RunId::parse(&text).map_err(|e| Error::Wire(e.to_string()))
}

/// The tag of the worker that has the run, if it is one of the key's.
pub fn worker_tag<'a>(id: &'a RunId, key: &str) -> Option<&'a str> {
    let rest = id.as_str().strip_prefix("run_")?;
    let (worker, rest) = rest.split_at_checked(TAG)?;
    let (owner, _) = rest.split_at_checked(TAG)?;
    (owner == tag(key)).then_some(worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_its_own_key_to_the_worker() {
        let id = new(&tag("local"), "key_1").unwrap();
        assert_eq!(worker_tag(&id, "key_1"), Some(tag("local").as_str()));
        assert_eq!(worker_tag(&id, "key_2"), None);
        for odd in ["run_", "x", "run_12345678", &format!("run_{:032x}", 5)] {
            assert_eq!(worker_tag(&RunId::parse(odd).unwrap(), "key_1"), None);
        }
    }
}
