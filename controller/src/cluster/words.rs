//! What a cluster's refusals and a network's failures mean, in words: what happened, whose it is, what to do. Pure.

use std::error::Error;
use std::io;

use kube::core::Status;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use super::ClusterError;
use super::dial::DialError;
use super::wire::ANSWER;

/// The most of a cluster's own words that is passed on.
const MOST_WORDS: usize = 600;
/// The most of them that is looked at.
const MOST_READ: usize = 64 << 10;

/// What was asked, for words.
pub(super) struct Asked<'a> {
    pub verb: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
}

/// A text of somebody else's: on one line, bounded. Of a long one beginning and end, where an API server says why after
/// it has repeated what it was given.
pub(super) fn clean(text: &str) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_READ).collect();
    let flat = flat.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = flat.chars().count();
    if count <= MOST_WORDS {
        return flat;
    }
    let half = MOST_WORDS / 2;
    let (begin, end) = (flat.chars().take(half), flat.chars().skip(count - half));
    begin.chain(" ... ".chars()).chain(end).collect()
}

/// An API server's refusal.
pub(super) fn refused(
    status: &Status,
    asked: &Asked<'_>,
    server: &str,
    scrub: impl Fn(&str) -> String,
) -> ClusterError {
    let said = clean(&scrub(&status.message));
    let says = |words: &str| status.message.contains(words);
    let Asked { verb, kind, namespace } = asked;
    match status.code {
        401 => ClusterError::Refused(format!(
            "The cluster at {server} does not accept our credentials (401): the token or certificate of the kubeconfig is wrong \
             or has expired. Give the environment a new one"
        )),
        403 => forbidden(&said, says, asked),
        404 if says("namespaces ") => ClusterError::Refused(format!(
            "The cluster has no namespace {namespace}: `kubectl create namespace {namespace}`, or name another in the environment"
        )),
        404 => {
            ClusterError::Refused(format!("The cluster cannot {verb} a {kind} in namespace {namespace} (404): {said}"))
        }
        409 => ClusterError::Conflict(format!("The {kind} in namespace {namespace} changed meanwhile: {said}")),
        413 => ClusterError::Refused(format!("The {kind} is too large for the cluster (413): {said}")),
        422 if says("field is immutable") => ClusterError::Refused(format!(
            "There is a {kind} of this version in namespace {namespace} that was made otherwise, and it cannot be changed: deploy \
             again, which makes a new version. The cluster says: {said}"
        )),
        400 | 422 => ClusterError::Refused(format!("The cluster does not take the {kind} ({}): {said}", status.code)),
        // A value that it cannot read is a failure of its own to it.
        500 if says("unable to convert") || says("failed to create typed") => {
            ClusterError::Refused(format!("The cluster does not take the {kind} (500): {said}"))
        }
        408 | 429 | 500..=599 => ClusterError::Unreachable(format!(
            "The cluster at {server} could not {verb} the {kind} ({}): {said}. That may pass",
            status.code
        )),
        code => ClusterError::Refused(format!("The cluster does not {verb} the {kind} ({code}): {said}")),
    }
}

fn forbidden(said: &str, says: impl Fn(&str) -> bool, Asked { verb, kind, namespace }: &Asked<'_>) -> ClusterError {
    if says("is being terminated") {
        return ClusterError::Conflict(format!("The namespace {namespace} is being deleted: {said}"));
    }
    let todo = if says("exceeded quota") || says("failed quota") {
        format!("The quota of namespace {namespace} does not allow it: stop something, ask for less, or have it raised")
    } else if says("PodSecurity") {
        format!("The pod security standard of namespace {namespace} does not allow it")
    } else if says("admission webhook") || says("ValidatingAdmissionPolicy") {
        "A rule of the cluster does not allow it".to_owned()
    } else {
        format!(
            "The kubeconfig's user may not do that: give it a Role in namespace {namespace} (get, list, create, patch and delete \
             of jobs, secrets, serviceaccounts and networkpolicies; get and list of pods, pods/log and events)"
        )
    };
    ClusterError::Refused(format!("The cluster forbids to {verb} the {kind} (403): {said}. {todo}"))
}

/// An answer that no API server gives.
pub(super) fn not_of_an_api(code: http::StatusCode, server: &str) -> ClusterError {
    let text = format!("What answers at {server} says {code} and is no Kubernetes API server, or a proxy before one");
    match code.as_u16() {
        401 => ClusterError::Refused(format!("{text}. Are the kubeconfig's credentials right, and not expired?")),
        408 | 429 | 500..=599 => ClusterError::Unreachable(format!("{text}. That may pass")),
        _ => ClusterError::Refused(format!("{text}. Is the server's address in the kubeconfig right?")),
    }
}

pub(super) fn no_api(server: &str) -> ClusterError {
    ClusterError::Refused(format!(
        "What answers at {server} says nothing that a Kubernetes API server would. Is the address in the kubeconfig right?"
    ))
}

pub(super) fn slow(server: &str) -> ClusterError {
    ClusterError::Unreachable(format!("The cluster at {server} did not answer within {} s", ANSWER.as_secs()))
}

pub(super) fn broke_off(server: &str) -> ClusterError {
    ClusterError::Unreachable(format!("The answer of the cluster at {server} broke off, or has no end"))
}

/// Why a question did not get there.
pub(super) fn unreachable(error: &kube::Error, server: &str) -> ClusterError {
    if let kube::Error::Auth(error) = error {
        return credentials(error);
    }
    for cause in causes(error) {
        if let Some(error) = cause.downcast_ref::<DialError>() {
            return match error {
                DialError::Forbidden(_) => ClusterError::Settings(format!(
                    "The kubeconfig's server {server} is not dialled: {error}. The operator can allow it in the policy's \
                     network.private"
                )),
                DialError::NoName => ClusterError::Unreachable(format!(
                    "The name of the cluster's server {server} is not known here. Is it spelled right, and known to the DNS of the \
                     controller?"
                )),
                DialError::Slow => ClusterError::Unreachable(format!(
                    "The cluster at {server} cannot be reached: {error}. Is it up, and does a firewall let the controller through?"
                )),
            };
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return tls(error, server);
        }
        if let Some(error) = cause.downcast_ref::<kube::client::AuthError>() {
            return credentials(error);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            return ClusterError::Unreachable(format!(
                "Nothing listens at {server}: is the cluster up, and is the port in the kubeconfig right?"
            ));
        }
    }
    ClusterError::Unreachable(format!("The connection to the cluster at {server} broke, or could not be made"))
}

/// An error with all that caused it. What an IO error holds is not among its sources.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut all: Vec<&'a (dyn Error + 'static)> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next
        && all.len() < 16
    {
        all.push(error);
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    all
}

fn tls(error: &rustls::Error, server: &str) -> ClusterError {
    let text = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            // Authorities of clusters are often named alike: then it is the signature that does not fit.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "The certificate of {server} is not of an authority that is trusted. Put the cluster's own into the kubeconfig as \
                 certificate-authority-data"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "The certificate of {server} is for another name. Use one of its names in the kubeconfig, or set tls-server-name"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("The certificate of {server} has expired: the cluster's operator has to renew it")
            }
            _ => format!("The certificate of {server} is not valid"),
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateExpired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied,
        ) => format!(
            "The cluster at {server} does not accept the kubeconfig's client certificate: it is missing, expired, or of another \
             cluster"
        ),
        rustls::Error::InvalidMessage(_) => {
            format!("What listens at {server} does not speak TLS: is that the port of the API server?")
        }
        _ => return ClusterError::Unreachable(format!("No TLS connection to the cluster at {server} came about")),
    };
    ClusterError::Refused(text)
}

fn credentials(error: &kube::client::AuthError) -> ClusterError {
    use kube::client::AuthError;
    // What a program printed, and what a file holds, stays out of words.
    ClusterError::Settings(match error {
        AuthError::AuthExecStart(e) => {
            format!("The program that the kubeconfig names for credentials cannot be started: {}", e.kind())
        }
        AuthError::AuthExecRun { cmd, out } => {
            format!("The program that the kubeconfig names for credentials ({cmd}) failed: {}", out.status)
        }
        AuthError::ReadTokenFile(e, path) => {
            format!("The token file {} cannot be read: {}", path.display(), e.kind())
        }
        AuthError::InvalidBearerToken(_) | AuthError::InvalidBasicAuth(_) => {
            "The kubeconfig's token or password has letters that cannot be sent".to_owned()
        }
        _ => "The kubeconfig's credentials cannot be had".to_owned(),
    })
}

/// Why a client could not be made of settings.
pub(super) fn unbuilt(error: &kube::Error) -> ClusterError {
    match error {
        kube::Error::Auth(error) => credentials(error),
        kube::Error::RustlsTls(_) => ClusterError::Settings(
            "The kubeconfig's certificates cannot be used: certificate-authority-data, client-certificate-data and \
             client-key-data are the base64 of PEM, and certificate and key belong together"
                .to_owned(),
        ),
        kube::Error::ProxyProtocolDisabled { .. } | kube::Error::ProxyProtocolUnsupported { .. } => {
            ClusterError::Settings("The kubeconfig's proxy-url is not http or https".to_owned())
        }
        kube::Error::InferKubeconfig(_) => ClusterError::Settings(
            "The kubeconfig's client certificate or key cannot be read: its data is the base64 of a PEM file"
                .to_owned(),
        ),
        _ => ClusterError::Settings("The kubeconfig cannot be used".to_owned()),
    }
}
