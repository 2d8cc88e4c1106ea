//! Image references as users write them: `registry/repository:tag@digest`, in the distribution grammar. Contacts no
//! registry.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

const MAX_REFERENCE: usize = 512;
/// The specification's limit for a repository's name, host included.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const DOCKER_HUB: &str = "docker.io";
/// The port that registries listen on.
const USUAL_PORT: &str = "5000";
const IS_A_REGISTRY: &str = "it is a registry, and the image in it is missing";

/// The location of an image: registry, repository, and tag or digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an image reference: {why}. Write REGISTRY/REPOSITORY:TAG, such as registry.example/team/agent:1.0"
)]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

impl ReferenceError {
    /// True for a registry's address without a repository, such as `127.0.0.1:5000`.
    pub fn is_a_registry(&self) -> bool {
        self.why == IS_A_REGISTRY
    }
}

impl Reference {
    /// Parses a reference that names its registry. Without tag and digest it means `latest`.
    ///
    /// # Errors
    /// The text is not a reference, or has no registry.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parse(text, false).map_err(|why| ReferenceError { text: text.chars().take(MAX_REFERENCE).collect(), why })
    }

    /// Parses a reference as typed at a terminal: without a registry it means Docker Hub.
    ///
    /// # Errors
    /// The text is not a reference.
    pub fn parse_familiar(text: &str) -> Result<Self, ReferenceError> {
        parse(text, true).map_err(|why| ReferenceError { text: text.chars().take(MAX_REFERENCE).collect(), why })
    }

    /// Host and port as written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host to connect to. Docker Hub's API has a different host name.
    pub fn host(&self) -> &str {
        if self.registry == DOCKER_HUB { "registry-1.docker.io" } else { &self.registry }
    }

    /// True for a registry on the loopback interface.
    pub fn is_on_this_machine(&self) -> bool {
        let name = match self.registry.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
            _ => &self.registry,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        address.is_ok_and(|address| address.is_loopback()) || name == "localhost" || name.ends_with(".localhost")
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The digest if there is one, else the tag.
    pub fn which(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The image with that digest in the same repository, without a tag. Jobs are pinned to this.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(text: &str, familiar: bool) -> Result<Reference, &'static str> {
    let text = text.strip_prefix("docker://").or_else(|| text.strip_prefix("oci://")).unwrap_or(text);
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > MAX_REFERENCE {
        return Err("it is too long");
    }
    if text.contains("://") {
        return Err("a reference has no scheme");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            (rest, Some(digest.parse::<Digest>().map_err(|_| "the part after `@` is not a sha256 digest")?))
        }
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        // A colon before a slash belongs to a port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("a tag is 1 to 128 letters, digits, `_`, `.` and `-`");
    }
    if !name.contains('/') && is_a_registry(name, tag) {
        return Err(IS_A_REGISTRY);
    }
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if looks_like_host(host) => (host, path.to_owned()),
        Some(_) if familiar => (DOCKER_HUB, name.to_owned()),
        None if familiar => (DOCKER_HUB, format!("library/{name}")),
        _ => return Err("it names no registry"),
    };
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    let path = if registry == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path };
    if !is_host(registry) {
        return Err("the registry is not a host name or an address");
    }
    if registry.len() + 1 + path.len() > MAX_NAME {
        return Err("its name has more than 255 characters");
    }
    if !path.split('/').all(is_component) {
        return Err("a repository's parts are lower-case letters and digits, separated by `.`, `_`, `__` or dashes");
    }
    Ok(Reference { registry: registry.to_ascii_lowercase(), repository: path, tag: tag.map(str::to_owned), digest })
}

/// True for `127.0.0.1:5000`, `registry.example` and `host:5000`, which by the grammar are images of Docker Hub and are
/// never meant so. `app:7` and `my.app:1.0` are images.
fn is_a_registry(name: &str, tag: Option<&str>) -> bool {
    let port = tag.is_some_and(is_port);
    let host = looks_like_host(name) && is_host(name);
    (host && (tag.is_none() || port)) || tag == Some(USUAL_PORT)
}

fn looks_like_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.chars().any(|c| c.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                return after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_TAG
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let words = |byte: Option<u8>| byte.is_some_and(is_word);
    words(text.bytes().next())
        && words(text.bytes().next_back())
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_read_as_others_read_them() {
        for (text, registry, repository, which) in [
            ("registry.example/team/agent:1.0", "registry.example", "team/agent", "1.0"),
            ("localhost/agent", "localhost", "agent", "latest"),
            ("127.0.0.1:5000/a/b/c:x_Y-1.", "127.0.0.1:5000", "a/b/c", "x_Y-1."),
            ("[::1]:5000/a", "[::1]:5000", "a", "latest"),
            ("Registry.Example:443/a__b/c-d--e.f_g", "registry.example:443", "a__b/c-d--e.f_g", "latest"),
            ("docker.io/alpine", "docker.io", "library/alpine", "latest"),
            ("docker://r.example/a:1", "r.example", "a", "1"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(
                (reference.registry(), reference.repository(), reference.which().as_str()),
                (registry, repository, which)
            );
        }
        let both = Reference::parse(&format!("r.example/a:1@{HEX}")).unwrap();
        assert_eq!((both.which(), both.to_string()), (HEX.to_owned(), format!("r.example/a:1@{HEX}")));
        assert_eq!(both.pinned(HEX.parse().unwrap()).to_string(), format!("r.example/a@{HEX}"));
    }

    #[test]
    fn a_tag_and_a_digest_are_both_kept() {
        let tag = "x".repeat(128);
        for (text, full, tag) in [
            (format!("r.example/a:t2@{HEX}"), format!("r.example/a:t2@{HEX}"), Some("t2")),
            (format!("localhost:5000/a/b:1.0@{HEX}"), format!("localhost:5000/a/b:1.0@{HEX}"), Some("1.0")),
            (format!("[::1]:5000/a:t@{HEX}"), format!("[::1]:5000/a:t@{HEX}"), Some("t")),
            (format!("localhost:5000/a@{HEX}"), format!("localhost:5000/a@{HEX}"), None),
            (format!("busybox:1@{HEX}"), format!("docker.io/library/busybox:1@{HEX}"), Some("1")),
            (format!("r.example/a:{tag}@{HEX}"), format!("r.example/a:{tag}@{HEX}"), Some(tag.as_str())),
        ] {
            let reference = Reference::parse_familiar(&text).unwrap();
            assert_eq!((reference.to_string(), reference.tag()), (full, tag), "{text}");
            assert_eq!(reference.digest().map(Digest::to_string).as_deref(), Some(HEX));
        }
        let upper = HEX.to_uppercase();
        for text in [
            format!("r.example/a:@{HEX}"),
            format!("r.example/a@{HEX}:t"),
            format!("r.example/a:t@{HEX}@{HEX}"),
            format!("r.example/a@t@{HEX}"),
            format!("r.example/a:t@{upper}"),
            "r.example/a:t@".to_owned(),
            "r.example/a:t@sha512:abc".to_owned(),
        ] {
            assert!(Reference::parse_familiar(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_leaves_the_registry_out_means_docker_hub_only_where_that_is_wanted() {
        for (text, full) in [("alpine:3", "docker.io/library/alpine:3"), ("team/agent", "docker.io/team/agent")] {
            assert_eq!(Reference::parse_familiar(text).unwrap().to_string(), full);
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert_eq!(Reference::parse_familiar("alpine").unwrap().host(), "registry-1.docker.io");
    }

    #[test]
    fn a_registry_without_a_repository_is_no_image_of_docker_hub() {
        for text in [
            "127.0.0.1:5000",
            "127.0.0.1",
            "localhost",
            "localhost:5000",
            "registry.example",
            "registry.example:443",
            "Registry:8080",
            "host:5000",
            "docker.io",
        ] {
            let error = Reference::parse_familiar(text).unwrap_err().to_string();
            assert!(
                error.contains("it is a registry, and the image in it is missing. Write REGISTRY/REPOSITORY"),
                "{error}"
            );
        }
        for text in ["redis:7", "app:2024", "my.app:1.0", "app:50000", "localhost:5000/app", "team/app:5000"] {
            Reference::parse_familiar(text).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = format!("r.example/{}", "a".repeat(300));
        let short_digest = "r.example/a@sha256:abc";
        for text in [
            "",
            "/",
            "r.example/",
            "r.example//a",
            "r.example/A",
            "r.example/a:",
            "r.example/a:-x",
            "r.example/a b",
            "r.example/a..b",
            "r.example/../b",
            "r.example/a/.",
            "r.example/-a",
            "r.example/a-",
            "r.example/a___b",
            "r.example:0/a",
            "r.example:99999/a",
            "r.example:x/a",
            "r..example/a",
            "-r.example/a",
            "[::1/a",
            "[x]/a",
            "https://r.example/a",
            "user:pass@r.example/a",
            "r.example/a?x=1",
            "r.example/a#x",
            "r.example/a%2f",
            &long,
            short_digest,
            "r.example/a\n:b",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }
}
