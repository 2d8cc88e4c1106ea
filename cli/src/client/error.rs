//! Failed calls: the server was not reached, or it refused.

use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;

use cofferdam_contract::Problem;
use http::StatusCode;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("reaching {host}: {cause}")]
    Unreachable { host: String, cause: String, refused: bool },
    /// The connection broke after the answer had begun.
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error(
        "no key: set COFFERDAM_URL and COFFERDAM_API_KEY, or start `cofferdam serve` on this machine (looked for {path})",
        path = .path.display()
    )]
    NoKey { path: PathBuf, source: std::io::Error },
    #[error("{}: {}", .0.title, .0.detail)]
    Refused(Box<Problem>),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl ClientError {
    /// The request was not answered. The URL stays out of the text: an upload link is a credential.
    pub(super) fn unreachable(error: &reqwest::Error) -> Self {
        let host = error.url().map(|url| match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        });
        let refused = causes(error)
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| cause.kind() == ErrorKind::ConnectionRefused);
        Self::Unreachable { host: host.unwrap_or_default(), cause: root(error), refused }
    }

    pub(super) fn broken(error: &(dyn Error + 'static)) -> Self {
        Self::Broken(root(error))
    }

    /// The connection failed, so the same call may succeed later.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken(_) | Self::NoKey { .. })
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == StatusCode::NOT_FOUND.as_u16())
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The innermost error: those around it only name layers of the HTTP library.
fn root(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
