//! Names of images in an environment's registry, as we push them and as nodes pull them. Pure.

use cofferdam_contract::{AgentId, OrganizationId};
use sha2::{Digest, Sha256};

use crate::Environment;

/// Hex digits of the hash that replaces an organization's id in a repository's name.
const HASH_DIGITS: usize = 32;

impl Environment {
    /// The repository of an agent's images: `host[:port]/prefix/organization/agent`. `None` if the environment has no
    /// registry.
    pub fn repository(&self, organization: &OrganizationId, agent: &AgentId) -> Option<String> {
        let place = self.images.repository.as_deref()?;
        Some(format!("{place}/{}/{agent}", path_part(organization)))
    }

    /// An image's reference as nodes name it.
    pub fn pulled(&self, reference: &str) -> String {
        let (Some(push), Some(pull)) = (&self.images.repository, &self.images.pull_repository) else {
            return reference.to_owned();
        };
        match reference.strip_prefix(push.as_str()) {
            Some(rest) if rest.starts_with('/') => format!("{pull}{rest}"),
            _ => reference.to_owned(),
        }
    }
}

/// An organization's part of a repository's name. Ids with characters that registries refuse are hashed.
pub fn path_part(organization: &OrganizationId) -> String {
    let id = organization.as_str();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = id.bytes().next().is_some_and(plain) && id.bytes().next_back().is_some_and(plain);
    // One or two `_` may stand between characters, and never beside `-`.
    let odd = id.bytes().any(|b| !plain(b) && b != b'-' && b != b'_');
    let runs = id.contains("___") || id.contains("-_") || id.contains("_-");
    if ends && !odd && !runs {
        return id.to_owned();
    }
    let mut digest = hex::encode(Sha256::digest(id.as_bytes()));
    digest.truncate(HASH_DIGITS);
    format!("o.{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_organization_has_a_path_of_its_own() {
        let part = |id: &str| path_part(&OrganizationId::parse(id).unwrap());
        assert_eq!(part("default"), "default");
        assert_eq!(part("org_00ff"), "org_00ff");
        let mut odd: Vec<String> = ["Default", "-x", "x-", "a___b", "a_-b", "A", "_"].map(part).into();
        assert!(odd.iter().all(|part| part.starts_with("o.") && part.len() == 34), "{odd:?}");
        odd.sort();
        odd.dedup();
        assert_eq!(odd.len(), 7);
    }
}
