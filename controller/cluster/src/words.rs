//! Turns a cluster's refusals and a network's failures into errors that say what happened and what to do. Pure.

use std::error::Error;
use std::io;

use cofferdam_core::Secret;
use cofferdam_redact::{MARK, Redactor};
use kube::core::Status;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use crate::dial::DialError;
use crate::wire::ANSWER_TIMEOUT;
use crate::{ClusterError, Workload, workload_name};

/// Characters of a cluster's own text that are passed on.
const MAX_SHOWN: usize = 600;
/// A longer text of the cluster is not shown at all: cut before it is redacted, it could show a part of a secret.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// The request that failed, for its error text.
pub(crate) struct Asked<'a> {
    pub verb: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    /// The workload of the request: the cluster may quote the values of its variables.
    pub workload: Option<&'a Workload>,
}

/// Puts foreign text on one line, bounded in length. Keeps the beginning and the end of a long text, because an API
/// server says the reason after it has quoted the object.
pub(crate) fn clean(text: &str) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let flat = flat.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = flat.chars().count();
    if count <= MAX_SHOWN {
        return flat;
    }
    let half = MAX_SHOWN / 2;
    let (begin, end) = (flat.chars().take(half), flat.chars().skip(count - half));
    begin.chain(" ... ".chars()).chain(end).collect()
}

/// Foreign text without our credentials and the workload's secrets, in any of their forms, and without what looks like a
/// credential. Names of our own objects stay whole, whatever value they contain. Shows nothing of the text if there are
/// more values than can be looked for.
pub(crate) fn redacted(text: &str, credentials: &[Secret], workload: Option<&Workload>, namespace: &str) -> String {
    let Ok(ours) = Redactor::new(credentials.iter().map(Secret::expose)) else { return MARK.to_owned() };
    let text = ours.text(text);
    let Some(workload) = workload else { return text.into_owned() };
    let name = workload_name(&workload.id);
    let public = [name.as_str(), namespace, workload.image.as_str()];
    match Redactor::for_env(&workload.env, &workload.secrets) {
        Ok(redactor) => redactor.text_beside(&text, &public).into_owned(),
        Err(_) => MARK.to_owned(),
    }
}

/// An API server refused a request.
pub(crate) fn refused(
    status: &Status,
    asked: &Asked<'_>,
    server: &str,
    scrub: impl Fn(&str) -> String,
) -> ClusterError {
    // Redacted as it came: a value is found only while its spaces are its own, and whole.
    let said = match status.message.len() {
        0..=MAX_MESSAGE_BYTES => clean(&scrub(&status.message)),
        bytes => format!("[{bytes} bytes, too many to show]"),
    };
    let says = |words: &str| status.message.contains(words);
    let Asked { verb, kind, namespace, .. } = asked;
    match status.code {
        401 => ClusterError::Refused(format!(
            "The cluster at {server} does not accept our credentials (401): the token or certificate of the kubeconfig is wrong \
             or has expired. Give the environment a new one"
        )),
        403 => forbidden(&said, says, asked),
        404 if says("namespaces ") => ClusterError::Refused(format!(
            "The cluster has no namespace {namespace}: `kubectl create namespace {namespace}`, or set another one in the environment"
        )),
        404 => {
            ClusterError::Refused(format!("The cluster cannot {verb} a {kind} in namespace {namespace} (404): {said}"))
        }
        409 => ClusterError::Conflict(format!("The {kind} in namespace {namespace} changed meanwhile: {said}")),
        413 => ClusterError::Refused(format!("The {kind} is too large for the cluster (413): {said}")),
        422 if says("field is immutable") => ClusterError::Refused(format!(
            "A different {kind} of this version exists in namespace {namespace} and cannot be changed: deploy \
             again, which creates a new version. The cluster says: {said}"
        )),
        400 | 422 => ClusterError::Refused(format!("The cluster does not take the {kind} ({}): {said}", status.code)),
        // An API server reports a value that it cannot parse as an internal error.
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

fn forbidden(said: &str, says: impl Fn(&str) -> bool, Asked { verb, kind, namespace, .. }: &Asked<'_>) -> ClusterError {
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
            "The kubeconfig's user lacks the permission: give it a Role in namespace {namespace} (get, list, create, patch and delete \
             of jobs, secrets, serviceaccounts and networkpolicies; get and list of pods, pods/log and events)"
        )
    };
    ClusterError::Refused(format!("The cluster forbids us to {verb} the {kind} (403): {said}. {todo}"))
}

/// The answer does not come from an API server.
pub(crate) fn not_of_an_api(code: http::StatusCode, server: &str) -> ClusterError {
    let text =
        format!("The server at {server} answers {code} and is no Kubernetes API server, or is a proxy in front of one");
    match code.as_u16() {
        401 => ClusterError::Refused(format!("{text}. Are the kubeconfig's credentials valid and not expired?")),
        408 | 429 | 500..=599 => ClusterError::Unreachable(format!("{text}. That may pass")),
        _ => ClusterError::Refused(format!("{text}. Is the server's address in the kubeconfig right?")),
    }
}

/// The answer succeeded and does not parse.
pub(crate) fn no_api(server: &str) -> ClusterError {
    ClusterError::Refused(format!(
        "The server at {server} does not answer as a Kubernetes API server. Is the address in the kubeconfig right?"
    ))
}

pub(crate) fn slow(server: &str) -> ClusterError {
    ClusterError::Unreachable(format!("The cluster at {server} did not answer within {} s", ANSWER_TIMEOUT.as_secs()))
}

pub(crate) fn broke_off(server: &str) -> ClusterError {
    ClusterError::Unreachable(format!("The answer of the cluster at {server} broke off, or has no end"))
}

/// An answer with more objects than any that we ask for.
pub(crate) fn too_much(server: &str) -> ClusterError {
    ClusterError::Refused(format!("The cluster at {server} answered with more objects than were asked for"))
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
    let text = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            // Many clusters' authorities have the same name: then the signature does not match.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "The certificate of {server} is from an authority that is not trusted. Put the cluster's own into the kubeconfig as \
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
            "The cluster at {server} does not accept the kubeconfig's client certificate: it is missing, expired, or from another \
             cluster"
        ),
        rustls::Error::InvalidMessage(_) => {
            format!("The server at {server} does not speak TLS: is that the port of the API server?")
        }
        _ => return ClusterError::Unreachable(format!("The TLS handshake with the cluster at {server} failed")),
    };
    ClusterError::Refused(text)
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
