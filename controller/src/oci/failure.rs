//! What a registry did wrong, as a problem: whose registry, what happened, what to do. The library's own words stay in
//! the log: they may repeat what a server said.

use cofferdam_contract::Problem;
use oci_client::Reference;
use oci_client::errors::{DigestError, OciDistributionError as Oci};

use crate::Error;

pub(super) fn problem(error: &Oci, reference: &Reference) -> Error {
    let registry = reference.registry();
    tracing::info!(registry, repository = reference.repository(), %error, "a registry was asked in vain");
    let upstream = |what: String| Problem::bad_upstream(format!("The registry {registry}: {what}"));
    let problem = match error {
        Oci::AuthenticationFailure(_) | Oci::UnauthorizedError { .. } | Oci::RegistryTokenDecodeError(_) => upstream(
            "it does not let us in (401). Are the operator's credentials for it right, and is there such a repository?"
                .to_owned(),
        ),
        missing if is_missing(missing) => nothing(reference),
        Oci::RegistryError { envelope, .. } => {
            let codes: Vec<String> = envelope.errors.iter().take(4).map(|e| format!("{:?}", e.code)).collect();
            upstream(format!("it refuses ({}). Are the operator's credentials for it right?", codes.join(", ")))
        }
        Oci::ServerError { code, .. } => upstream(format!("it answered {code}.")),
        Oci::DigestError(DigestError::VerificationError { expected, actual }) => {
            upstream(format!("it served other bytes than asked for: expected {expected}, got {actual}."))
        }
        Oci::IoError(e) if is_wrong(e) => upstream("it served other bytes than the manifest's digest says.".to_owned()),
        Oci::DigestError(_) => upstream("a digest of its is none.".to_owned()),
        Oci::ImageIndexParsingNoPlatformResolverError => Problem::invalid(format!(
            "{reference} is an index of several images; name the digest of the one with the component."
        )),
        Oci::RequestError(e) if e.is_timeout() => upstream("it did not answer in time.".to_owned()),
        Oci::RequestError(e) if e.is_connect() => upstream("it cannot be reached.".to_owned()),
        Oci::RequestError(_) | Oci::IoError(_) => upstream("the connection broke off.".to_owned()),
        _ => upstream("its answer is not what the OCI distribution specification says.".to_owned()),
    };
    problem.into()
}

/// Whether the registry says that there is no such thing.
pub(super) fn is_missing(error: &Oci) -> bool {
    match error {
        Oci::ImageManifestNotFoundError(_) | Oci::ServerError { code: 404, .. } => true,
        Oci::RegistryError { envelope, .. } => envelope.errors.iter().any(|e| is_unknown(&e.code)),
        _ => false,
    }
}

/// The library verifies a blob as it streams, and says so as an error of the stream.
fn is_wrong(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<DigestError>());
    matches!(inner, Some(DigestError::VerificationError { .. }))
}

fn is_unknown(code: &oci_client::errors::OciErrorCode) -> bool {
    use oci_client::errors::OciErrorCode as Code;
    matches!(code, Code::ManifestUnknown | Code::NameUnknown | Code::BlobUnknown | Code::NotFound)
}

fn nothing(reference: &Reference) -> Problem {
    Problem::invalid(format!("oci: there is no {reference} at the registry."))
}

/// The whole took too long.
pub(super) fn late(reference: &Reference) -> Error {
    let registry = reference.registry();
    Problem::bad_upstream(format!("The registry {registry}: it did not finish in time.")).into()
}
