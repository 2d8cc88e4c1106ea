//! Debian's `docker-registry`, started for one test, and access to its contents.

use std::ops::Deref;

use super::http::{Answer, Call};

pub(crate) struct DockerRegistry(cofferdam_testkit::DockerRegistry);

impl Deref for DockerRegistry {
    type Target = cofferdam_testkit::DockerRegistry;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DockerRegistry {
    /// Returns `None` and prints a line if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        cofferdam_testkit::DockerRegistry::start().map(Self)
    }

    /// A manifest, as the registry stores it.
    pub(crate) fn manifest(&self, repository: &str, which: &str) -> Answer {
        let types = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json";
        let call = Call::new("GET", format!("/v2/{repository}/manifests/{which}")).header("accept", types);
        call.send_to(([127, 0, 0, 1], self.port).into()).unwrap()
    }
}
