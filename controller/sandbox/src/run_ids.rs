//! Run ids: `run_`, the worker's tag, the key's tag, 128 random bits. Any controller finds the files of a run by its id,
//! without a table, and only for the key that made the run: another key has another tag.

use cofferdam_contract::RunId;
use cofferdam_core::{TAG_LENGTH, random_bits, tag};

use crate::Error;

/// A new id for a run of the key `key` at the worker with the tag `worker`.
///
/// # Errors
/// The operating system returns no random bytes.
pub(crate) fn new(worker: &str, key: &str) -> Result<RunId, Error> {
    Ok(RunId::parse(&format!("run_{worker}{}{:032x}", tag(key), random_bits()?))?)
}

/// The tag of the worker that has the run, if the run is one of the key's.
pub(crate) fn worker_tag<'a>(id: &'a RunId, key: &str) -> Option<&'a str> {
    let rest = id.as_str().strip_prefix("run_")?;
    let (worker, rest) = rest.split_at_checked(TAG_LENGTH)?;
    let (owner, _) = rest.split_at_checked(TAG_LENGTH)?;
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
