//! The gateway's list of services: one for each kind of grant whose requests it carries out.

use std::sync::Arc;

use cofferdam_contract::{GrantKind, Grants};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::admission::Admission;
use crate::body::GatewayBody;
use crate::refusal::Refusal;
use crate::{Gateway, files, keyvalue, models, outbound, tools};

pub(crate) type Answer<'a> = BoxFuture<'a, Result<Response<GatewayBody>, Refusal>>;

/// The requests of one kind of grant.
pub(crate) trait Service: Sync {
    /// Returns true if requests to this path of an uplink are this service's. Models have no path: they are a host of
    /// `http`.
    fn serves(&self, _path: &str) -> bool {
        false
    }

    /// Carries out a request to one of its paths, as far as the admission's grants cover it.
    ///
    /// # Errors
    /// No grant, a quota, an invalid request, or a failure.
    fn answer<'a>(&self, _: &'a Gateway, _: &'a Arc<Admission>, _: Request<Incoming>) -> Answer<'a> {
        Box::pin(async { Err(Refusal::no_service()) })
    }

    /// The environment variables of a sandbox with this kind of grant.
    fn variables(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// The list of services. A new kind of grant does not compile without its line here.
pub(crate) fn of(kind: GrantKind) -> Option<&'static dyn Service> {
    match kind {
        GrantKind::Http => Some(&outbound::Http),
        GrantKind::Tools => Some(&tools::ToolsService),
        GrantKind::KeyValue => Some(&keyvalue::KeyValue),
        GrantKind::Files => Some(&files::Files),
        GrantKind::Llm => Some(&models::Llm),
        // Secrets are put into requests of `http`. Configuration values never leave the sandbox.
        GrantKind::Secrets | GrantKind::Config => None,
    }
}

/// The service of a path, with its name in logs and metrics.
pub(crate) fn at(path: &str) -> Option<(&'static str, &'static dyn Service)> {
    let served = |kind: &GrantKind| of(*kind).filter(|service| service.serves(path)).map(|found| (kind.name(), found));
    GrantKind::ALL.iter().find_map(served)
}

/// The services that serve these grants.
pub(crate) fn serving(grants: &Grants) -> impl Iterator<Item = (GrantKind, &'static dyn Service)> {
    grants.kinds().filter_map(|kind| of(kind).map(|service| (kind, service)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_service() {
        for (path, service) in [
            ("/http", Some("http")),
            ("/http/", None),
            ("/keyvalue", Some("keyvalue")),
            ("/files/load", Some("files")),
            ("/files/save", Some("files")),
            ("/files", None),
            ("/tools", Some("tools")),
            ("/tools/a/functions/b", Some("tools")),
            ("/toolsx", None),
            ("/", None),
        ] {
            assert_eq!(at(path).map(|(name, _)| name), service, "{path}");
            let serving = GrantKind::ALL.iter().filter_map(|kind| of(*kind)).filter(|found| found.serves(path));
            assert_eq!(serving.count(), usize::from(service.is_some()), "{path}");
        }
    }
}
