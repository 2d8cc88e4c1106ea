//! Failed image pulls: the cause, read from the messages of kubelet and registry, and the fix. Pure.

use crate::Words;

/// A failed pull in words.
pub(crate) struct PullFailure {
    pub text: Words,
    /// Trying again does not help.
    pub is_permanent: bool,
}

/// The cause of a failed pull.
#[derive(Clone, Copy)]
enum Cause {
    InvalidName,
    PlainHttp,
    Certificate,
    Platform,
    RateLimit,
    Denied,
    NotFound,
    UnknownHost,
    Unreachable,
    NoSpace,
    Unknown,
}

impl Cause {
    /// Kubelets report no code, only the text of their runtime and the registry.
    fn of(reason: &str, message: &str) -> Self {
        if reason == "InvalidImageName" {
            return Self::InvalidName;
        }
        let low = without_names(&message.to_lowercase());
        let any = |texts: &[&str]| texts.iter().any(|text| low.contains(text));
        let word = |word: &str| low.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word);
        if any(&["http response to https client"]) {
            Self::PlainHttp
        } else if any(&["x509", "certificate", "tls: "]) {
            Self::Certificate
        } else if any(&["no match for platform", "no matching manifest", "exec format error"]) {
            Self::Platform
        } else if any(&["toomanyrequests", "rate limit"]) || word("429") {
            Self::RateLimit
        } else if any(&["unauthorized", "authentication required", "no basic auth", "denied", "forbidden"])
            || word("401")
            || word("403")
        {
            Self::Denied
        } else if any(&["not found", "manifest unknown", "name unknown", "does not exist"]) || word("404") {
            Self::NotFound
        } else if any(&["no such host", "name resolution", "server misbehaving"]) {
            Self::UnknownHost
        } else if any(&["timeout", "connection refused", "no route to host", "unreachable", "deadline exceeded"])
            || word("eof")
        {
            Self::Unreachable
        } else if any(&["no space left"]) {
            Self::NoSpace
        } else {
            Self::Unknown
        }
    }

    fn is_permanent(self) -> bool {
        !matches!(self, Self::RateLimit | Self::Unreachable | Self::NoSpace | Self::Unknown)
    }

    fn advice(self, architecture: &str) -> String {
        let text = match self {
            Self::InvalidName => "its name is not one of an image",
            Self::PlainHttp => {
                "the registry speaks plain HTTP and the node insists on HTTPS: configure the node's container runtime for \
                 this registry (containerd: certs.d/HOST/hosts.toml), or give the registry a certificate"
            }
            Self::Certificate => {
                "the node does not trust the registry's certificate: install its authority on the nodes (containerd: \
                 certs.d/HOST/hosts.toml)"
            }
            Self::Platform => {
                return format!(
                    "it has no variant for the node's processor ({architecture}): build it for linux/{architecture}"
                );
            }
            Self::RateLimit => "the registry limits the node's pulls: wait, or pull with credentials",
            Self::Denied => {
                "the registry does not let the node in: name a pull secret of the namespace in the environment \
                 (image_pull_secrets), with valid credentials that have not expired"
            }
            Self::NotFound => {
                "the registry has no such image under the name that nodes use: check the environment's images_pull, \
                 and whether the registry's garbage collection deleted the image"
            }
            Self::UnknownHost => {
                "the node does not know the registry's name: set one in the environment that nodes can resolve \
                 (images_pull)"
            }
            Self::Unreachable => {
                "the node does not reach the registry: is it up, and does a firewall let nodes through?"
            }
            Self::NoSpace => "the node has no disk space left for it",
            Self::Unknown => "see what the node says",
        };
        text.to_owned()
    }
}

/// Reasons of a container that waits for its image.
pub(crate) const REASONS: [&str; 7] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Explains the same of a container that is not the agent's own. Nothing that we are told about images mends it.
pub(crate) fn explain_other(whose: Words, reason: &str, message: &str) -> PullFailure {
    let text = whose.and(format!(
        ", waits for its image ({reason}): have it mended where the container is added, such as by a service mesh"
    ));
    let is_permanent = Cause::of(reason, message).is_permanent();
    PullFailure { text: text.saying(". The node says:", message), is_permanent }
}

/// Explains a pull that failed with the kubelet's `reason` and `message`.
pub(crate) fn explain(reason: &str, message: &str, architecture: &str) -> PullFailure {
    let cause = Cause::of(reason, message);
    let advice = cause.advice(architecture);
    let text = Words::ours(format!("The image cannot be pulled ({reason}): {advice}"));
    PullFailure { text: text.saying(". The node says:", message), is_permanent: cause.is_permanent() }
}

/// A message without the image's name and addresses, which may contain any word.
fn without_names(text: &str) -> String {
    let unquoted: Vec<&str> = text.split('"').step_by(2).collect();
    let words: Vec<&str> =
        unquoted.iter().flat_map(|part| part.split(' ')).filter(|word| !word.contains('/')).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image may be named like an error, and a digest contains all numbers.
    #[test]
    fn names_of_images_are_not_taken_for_errors() {
        let name = "r.example:5000/certificate/unauthorized-denied@sha256:401403404429";
        for (said, says) in [
            (format!("Failed to pull image \"{name}\": dial tcp 10.0.0.5:443: i/o timeout"), "does not reach"),
            (format!("failed to resolve {name}: {name}: not found"), "no such image"),
            (format!("Head \"https://{name}\": x509: certificate signed by unknown authority"), "does not trust"),
            (format!("Failed to pull \"{name}\": unexpected status code 403"), "does not let the node in"),
            (format!("Failed to pull \"{name}\": EOF"), "does not reach"),
            (format!("Failed to pull \"{name}\": something else"), "see what the node says"),
        ] {
            let text = explain("ErrImagePull", &said, "amd64").text.shown(str::to_owned);
            assert!(text.contains(says), "{said}: {text}");
        }
    }
}
