//! Paths within an archive: normalization, links, and digests in names. Does not touch the file system.

use std::collections::HashMap;

use super::ArchiveError;
use crate::digest::Digest;
use crate::shown::shown;

/// The most links to follow in a chain.
const MAX_LINKS: usize = 40;

/// The normalized path: no `.`, no leading, repeated or trailing slash. Empty for the root. A leading slash means nothing,
/// because no entry is ever written to a disk or looked up outside of the archive.
pub(super) fn clean(name: &[u8]) -> Result<String, ArchiveError> {
    let bad = |why: &str| {
        let name = shown(name);
        Err(ArchiveError::Bad(format!("the archive has the entry {name}, {why}; save the image again")))
    };
    let Ok(text) = std::str::from_utf8(name) else { return bad("whose name is not UTF-8") };
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return bad("which leads out of the archive");
    }
    Ok(parts.join("/"))
}

/// Link targets. Old versions of `docker save` write a layer once and link to it from other places.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<String, String>);

impl Links {
    /// A symlink is relative to its folder, a hard link to the root. Returns false for another link of the same name with
    /// another target.
    pub(super) fn add(&mut self, path: &str, target: &[u8], symbolic: bool) -> Result<bool, ArchiveError> {
        let outside = || {
            let link = shown(path.as_bytes());
            ArchiveError::Bad(format!("the link {link} leads out of the archive; save the image again"))
        };
        let target = std::str::from_utf8(target).map_err(|_| outside())?;
        let mut parts: Vec<&str> = Vec::new();
        if symbolic {
            if target.starts_with('/') {
                return Err(outside());
            }
            parts.extend(path.split('/'));
            parts.pop();
        }
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or_else(outside)?),
                part => parts.push(part),
            }
        }
        let target = parts.join("/");
        Ok(*self.0.entry(path.to_owned()).or_insert_with(|| target.clone()) == target)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    pub(super) fn follow<'a>(&'a self, path: &'a str) -> Result<&'a str, ArchiveError> {
        let mut at = path;
        for _ in 0..MAX_LINKS {
            match self.0.get(at) {
                Some(next) => at = next,
                None => return Ok(at),
            }
        }
        let path = shown(path.as_bytes());
        Err(ArchiveError::Bad(format!("the links from {path} form a circle; save the image again")))
    }
}

/// The path of a blob in an OCI layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The digest in a blob's path.
pub(super) fn blob_digest(path: &str) -> Option<Digest> {
    Digest::from_hex(path.strip_prefix("blobs/sha256/")?).ok()
}

/// Digests in the layer names of docker archives, by each program's convention: of the uncompressed layer and of the
/// stored bytes. Hints only.
pub(super) fn hints(path: &str) -> (Option<Digest>, Option<Digest>) {
    // rules_oci gives the blobs of its docker archives a suffix.
    let name = path.strip_prefix("sha256:").or_else(|| path.strip_prefix("blobs/sha256/")).unwrap_or(path);
    let digest = |suffix| name.strip_suffix(suffix).and_then(|hex| Digest::from_hex(hex).ok());
    (digest(".tar"), digest(".tar.gz").or_else(|| digest(".tgz")))
}

/// The digest in the configuration's name, if there is one.
pub(super) fn config_digest(path: &str) -> Option<Digest> {
    let name = path.strip_prefix("sha256:").unwrap_or(path);
    Digest::from_hex(name.strip_suffix(".json").unwrap_or(name)).ok().or_else(|| blob_digest(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (name, path) in [
            ("./a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("./", ""),
            ("a", "a"),
            ("..a/b..", "..a/b.."),
            ("//x.tar", "x.tar"),
            ("/", ""),
        ] {
            assert_eq!(clean(name.as_bytes()).unwrap(), path);
        }
        for name in ["../a", "a/../b", "/../etc/passwd", "a/.."] {
            assert!(clean(name.as_bytes()).is_err(), "{name}");
        }
        assert!(clean(b"a\xff").unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn links_are_followed_and_never_out() {
        let mut links = Links::default();
        links.add("a/layer.tar", b"../b/layer.tar", true).unwrap();
        links.add("c/layer.tar", b"a/layer.tar", false).unwrap();
        assert_eq!(links.follow("c/layer.tar").unwrap(), "b/layer.tar");
        assert_eq!(links.follow("x").unwrap(), "x");
        for target in ["../../x", "/etc/passwd"] {
            assert!(links.add("d/layer.tar", target.as_bytes(), true).is_err(), "{target}");
        }
        assert!(links.add("e", b"f", true).unwrap() && links.add("e", b"./f", true).unwrap());
        assert!(!links.add("e", b"g", true).unwrap());
        links.add("f", b"./e", true).unwrap();
        assert!(links.follow("e").unwrap_err().to_string().contains("circle"));
    }

    #[test]
    fn names_tell_digests() {
        let digest = Digest::of(b"x");
        assert_eq!(blob_digest(&blob_path(&digest)), Some(digest));
        assert_eq!(hints(&format!("{}.tar", digest.hex())), (Some(digest), None));
        assert_eq!(hints(&format!("sha256:{}.tar.gz", digest.hex())), (None, Some(digest)));
        assert_eq!(hints(&format!("blobs/sha256/{}.tar.gz", digest.hex())), (None, Some(digest)));
        assert_eq!(hints(&format!("{}/layer.tar", digest.hex())), (None, None));
        assert_eq!(config_digest(&format!("{}.json", digest.hex())), Some(digest));
        assert_eq!(config_digest("config.json"), None);
    }
}
