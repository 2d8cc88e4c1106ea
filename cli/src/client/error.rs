//! Failed calls: the server was not reached, or it refused.

use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;

use cofferdam_contract::Problem;
use http::StatusCode;
use tokio_rustls::rustls;

const UNTRUSTED: &str = "its certificate is of an authority that this machine does not know; SSL_CERT_FILE names a file (PEM) \
    with the certificates of a private one";

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
    /// The same, at an address in the protocol of a provider of models.
    #[error("{message} ({status})")]
    Told { status: StatusCode, message: String },
    /// Something answers, and not as a server of this project does.
    #[error(
        "what answers there is no Cofferdam server, or one of another version: does COFFERDAM_URL name one, and not a registry \
         or a proxy?"
    )]
    Foreign,
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
        let host = host.unwrap_or_default();
        let cause = wrong_scheme(error, &host).unwrap_or_else(|| root(error));
        Self::Unreachable { host, cause, refused }
    }

    pub(super) fn broken(error: &(dyn Error + 'static)) -> Self {
        Self::Broken(root(error))
    }

    /// The connection failed, so the same call may succeed later.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken(_) | Self::NoKey { .. })
    }

    /// The server, or a proxy before it, cannot answer now.
    pub(crate) fn is_busy(&self) -> bool {
        let status = match self {
            Self::Refused(problem) => problem.status,
            Self::Told { status, .. } | Self::Status(status) => status.as_u16(),
            _ => return false,
        };
        matches!(status, 429 | 502 | 503 | 504)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.is(StatusCode::NOT_FOUND)
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.is(StatusCode::CONFLICT)
    }

    /// This key may not call this address, or the address is not served.
    pub(crate) fn is_closed(&self) -> bool {
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].iter().any(|status| self.is(*status))
    }

    fn is(&self, status: StatusCode) -> bool {
        match self {
            Self::Refused(problem) => problem.status == status.as_u16(),
            Self::Told { status: told, .. } => *told == status,
            _ => false,
        }
    }
}

/// The cause if the server does not speak what the URL's scheme says.
fn wrong_scheme(error: &reqwest::Error, host: &str) -> Option<String> {
    let scheme = error.url()?.scheme();
    let no_tls = |cause: &rustls::Error| matches!(cause, rustls::Error::InvalidMessage(_));
    match scheme {
        "https" if has_cause(error, &no_tls) => Some(format!("the server there does not speak TLS: try http://{host}")),
        "https" if has_cause(error, &untrusted) => Some(UNTRUSTED.to_owned()),
        // Such as the alert of a server that expects TLS.
        "http" if has_cause(error, &hyper::Error::is_parse) => {
            Some(format!("the answer is not HTTP: if the server speaks TLS, try https://{host}"))
        }
        _ => None,
    }
}

/// The server's certificate is not one that this machine trusts.
fn untrusted(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))
}

/// Looks for a cause, also inside errors of I/O, which skip what they wrap when they are asked for their source.
fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static), is: &dyn Fn(&E) -> bool) -> bool {
    if error.downcast_ref::<E>().is_some_and(is) {
        return true;
    }
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => has_cause(wrapped, is),
        None => error.source().is_some_and(|source| has_cause(source, is)),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The innermost error: those around it only name layers of the HTTP library.
fn root(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_authority_is_mended_by_a_file() {
        let of = rustls::Error::InvalidCertificate;
        assert!(untrusted(&of(rustls::CertificateError::UnknownIssuer)));
        assert!(!untrusted(&of(rustls::CertificateError::Expired)));
        assert!(UNTRUSTED.contains("SSL_CERT_FILE"));
    }
}
