//! Turns a cluster's refusals and a network's failures into errors that say what happened and what to do. Pure.

use std::error::Error;
use std::io;

use cofferdam_core::Secret;
use cofferdam_redact::{MARK, Redactor};
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use crate::dial::DialError;
use crate::pinned::is_authority;
use crate::wire::{ANSWER_TIMEOUT, Refusal};
use crate::{ClusterError, Words};

/// The request that failed, for its error text.
pub(crate) struct Asked<'a> {
    pub verb: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
}

/// A cluster's text without our credentials, in any of their forms, and without what looks like a credential. Shows nothing
/// of the text if there are more values than can be looked for.
pub(crate) fn redacted<'a>(text: &str, credentials: impl Iterator<Item = &'a Secret>) -> String {
    match Redactor::new(credentials.map(Secret::expose)) {
        Ok(ours) => ours.text(text).into_owned(),
        Err(_) => MARK.to_owned(),
    }
}

/// An API server refused a request. `scrub` takes our credentials out of what it says.
pub(crate) fn refused(
    refusal: &Refusal,
    asked: &Asked<'_>,
    server: &str,
    scrub: impl Fn(&str) -> String,
) -> ClusterError {
    let says = |words: &str| refusal.message.contains(words);
    let Asked { verb, kind, namespace } = asked;
    let code = refusal.code;
    let said = |words: String| Words::ours(words).saying(". It says:", &refusal.message).scrubbed(&scrub);
    match code {
        401 => ClusterError::refused(format!(
            "The cluster at {server} does not accept our credentials (401): the token or certificate of the kubeconfig is wrong \
             or has expired. Give the environment a new one"
        )),
        403 if says("is being terminated") => {
            ClusterError::conflict(said(format!("The namespace {namespace} is being deleted")))
        }
        403 => {
            let todo = permission(&says, namespace);
            ClusterError::refused(said(format!("The cluster forbids us to {verb} the {kind} (403). {todo}")))
        }
        404 if says("namespaces ") => ClusterError::refused(format!(
            "The cluster has no namespace {namespace}: `kubectl create namespace {namespace}`, or set another one in the environment"
        )),
        404 => {
            ClusterError::refused(said(format!("The cluster cannot {verb} a {kind} in namespace {namespace} (404)")))
        }
        409 => ClusterError::conflict(said(format!("The {kind} in namespace {namespace} changed meanwhile"))),
        413 => ClusterError::refused(said(format!("The {kind} is too large for the cluster (413)"))),
        422 if says("field is immutable") => ClusterError::refused(said(format!(
            "A different {kind} of this version exists in namespace {namespace} and cannot be changed: deploy again, which \
             creates a new version"
        ))),
        400 | 422 => ClusterError::refused(said(format!("The cluster does not take the {kind} ({code})"))),
        // An API server reports a value that it cannot parse as an internal error.
        500 if says("unable to convert") || says("failed to create typed") => {
            ClusterError::refused(said(format!("The cluster does not take the {kind} (500)")))
        }
        // A list that changes faster than it is read.
        410 => ClusterError::unreachable(said(format!("The cluster could not {verb} the {kind} to the end (410)"))),
        408 | 429 | 500..=599 => ClusterError::unreachable(said(format!(
            "The cluster at {server} could not {verb} the {kind} ({code}). That may pass"
        ))),
        code => ClusterError::refused(said(format!("The cluster does not {verb} the {kind} ({code})"))),
    }
}

/// A sentence about a lack of permission.
fn permission(says: &impl Fn(&str) -> bool, namespace: &str) -> String {
    if says("exceeded quota") || says("failed quota") {
        format!("The quota of namespace {namespace} does not allow it: stop something, ask for less, or have it raised")
    } else if says("PodSecurity") {
        format!("The pod security standard of namespace {namespace} does not allow it")
    } else if says("admission webhook") || says("ValidatingAdmissionPolicy") {
        "A rule of the cluster does not allow it".to_owned()
    } else {
        format!(
            "The kubeconfig's user lacks the permission: give it a Role in namespace {namespace} (get, list, create, patch and delete \
             of jobs, secrets, serviceaccounts and networkpolicies; get and list of pods, pods/log and events)"
        )
    }
}

/// The answer does not come from an API server.
pub(crate) fn not_of_an_api(code: http::StatusCode, server: &str) -> ClusterError {
    let text =
        format!("The server at {server} answers {code} and is no Kubernetes API server, or is a proxy in front of one");
    match code.as_u16() {
        401 => ClusterError::refused(format!("{text}. Are the kubeconfig's credentials valid and not expired?")),
        408 | 429 | 500..=599 => ClusterError::unreachable(format!("{text}. That may pass")),
        _ => ClusterError::refused(format!("{text}. Is the server's address in the kubeconfig right?")),
    }
}

/// The answer succeeded and does not parse, or has more parts than any that is asked for.
pub(crate) fn no_api(server: &str) -> ClusterError {
    ClusterError::refused(format!(
        "The server at {server} does not answer as a Kubernetes API server, or with more than was asked for. Is the address in \
         the kubeconfig right?"
    ))
}

pub(crate) fn slow(server: &str) -> ClusterError {
    ClusterError::unreachable(format!("The cluster at {server} did not answer within {} s", ANSWER_TIMEOUT.as_secs()))
}

pub(crate) fn broke_off(server: &str) -> ClusterError {
    ClusterError::unreachable(format!("The answer of the cluster at {server} broke off, or has no end"))
}

/// A request did not reach the API server.
pub(crate) fn unreachable(error: &kube::Error, server: &str) -> ClusterError {
    if let kube::Error::Auth(error) = error {
        return credentials(error);
    }
    for cause in causes(error) {
        if let Some(error) = cause.downcast_ref::<DialError>() {
            return match error {
                DialError::Forbidden(_) => ClusterError::Settings(format!(
                    "The kubeconfig's server {server} may not be dialled: {error}. The operator can allow it in the policy's \
                     network.private"
                )),
                DialError::NoName => ClusterError::unreachable(format!(
                    "The name of the cluster's server {server} is not known here. Is it spelled right, and known to the DNS of the \
                     controller?"
                )),
                DialError::Slow => ClusterError::unreachable(format!(
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
            return ClusterError::unreachable(format!(
                "Nothing listens at {server}: is the cluster up, and is the port in the kubeconfig right?"
            ));
        }
    }
    ClusterError::unreachable(format!("The connection to the cluster at {server} broke, or could not be made"))
}

/// An error and its causes. The error inside an IO error is not its `source`, so it is unpacked.
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
    let untrusted = || {
        format!(
            "The certificate of {server} is from an authority that is not trusted. Put the cluster's own into the kubeconfig as \
             certificate-authority-data"
        )
    };
    let text = match error {
        error if is_authority(error) => untrusted(),
        rustls::Error::InvalidCertificate(error) => match error {
            // Many clusters' authorities have the same name: then the signature does not match.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => untrusted(),
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
            "The cluster at {server} does not accept the kubeconfig's client certificate: it is missing, expired, or from another \
             cluster"
        ),
        rustls::Error::InvalidMessage(_) => {
            format!("The server at {server} does not speak TLS: is that the port of the API server?")
        }
        _ => return ClusterError::unreachable(format!("The TLS handshake with the cluster at {server} failed")),
    };
    ClusterError::refused(text)
}

fn credentials(error: &kube::client::AuthError) -> ClusterError {
    use kube::client::AuthError;
    // A program's output and a file's content stay out of the text.
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
            "The kubeconfig's token or password has characters that cannot be sent".to_owned()
        }
        _ => "The kubeconfig's credentials cannot be loaded".to_owned(),
    })
}

pub(crate) fn no_server_name() -> ClusterError {
    ClusterError::Settings("The kubeconfig's tls-server-name is no name".to_owned())
}

/// No client can be made from the settings.
pub(crate) fn unbuilt(error: &kube::Error) -> ClusterError {
    match error {
        kube::Error::Auth(error) => credentials(error),
        kube::Error::RustlsTls(_) => ClusterError::Settings(
            "The kubeconfig's certificates cannot be used: certificate-authority-data, client-certificate-data and \
             client-key-data are the base64 of PEM, and certificate and key have to match"
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
