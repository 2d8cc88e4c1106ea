//! A bucket of S3, or of a compatible server, with credentials of its own instead of the process's. The store has its
//! concrete type, because only that signs links.

use cofferdam_core::Secret;
use object_store::aws::{AmazonS3, AmazonS3Builder};

use crate::{ObjectsError, options, retry, tls};

/// The address and the credentials of a bucket.
#[derive(Debug, Clone)]
pub struct S3 {
    pub bucket: String,
    pub region: String,
    /// A server other than AWS; `http://` means no TLS.
    pub endpoint: Option<String>,
    /// Access key id and secret; without them, the role of the machine or pod is used.
    pub credentials: Option<(String, Secret)>,
}

/// Opens a bucket. Makes no request.
///
/// # Errors
/// The settings contradict each other.
pub fn s3(settings: &S3) -> Result<AmazonS3, ObjectsError> {
    tls();
    let builder = match &settings.credentials {
        Some((id, secret)) => AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.expose()),
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = builder.with_bucket_name(&settings.bucket).with_region(&settings.region);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let plain = settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let built = builder.with_client_options(options(plain)).with_retry(retry()).build();
    built.map_err(|error| ObjectsError::Store { place: format!("s3://{}", settings.bucket), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::path::Path;
    use object_store::signer::Signer;

    use super::*;

    #[tokio::test]
    async fn links_are_signed_for_the_endpoint_and_hold_no_secret() {
        let settings = S3 {
            bucket: "images".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: Some("http://127.0.0.1:5000".to_owned()),
            credentials: Some(("AKIDEXAMPLE".to_owned(), Secret::new("hunter22hunter22"))),
        };
        let store = s3(&settings).unwrap();
        let link = store.signed_url(http::Method::PUT, &Path::from("a/b"), Duration::from_secs(60)).await.unwrap();
        assert!(link.as_str().starts_with("http://127.0.0.1:5000/images/a/b?"), "{link}");
        assert!(link.as_str().contains("X-Amz-Signature=") && !link.as_str().contains("hunter22"), "{link}");
        assert!(!format!("{settings:?}").contains("hunter22"));
    }
}
