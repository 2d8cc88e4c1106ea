//! The S3 bucket of an environment. Each deployment has one object in it: its archive, written through a presigned link and
//! deleted once the image is in the registry.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::{AgentId, DeploymentId, OrganizationId};
use cofferdam_environments::Cloud;
use futures_util::stream::BoxStream;
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig};
use url::Url;

use crate::aws::install_tls_provider;
use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One request with all of its attempts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_RETRIES: usize = 8;
/// An object that is never written, below the bucket's prefix.
const PROBE: &str = ".cofferdam-probe";

pub(crate) struct Bucket {
    store: AmazonS3,
    name: String,
    prefix: String,
}

impl Bucket {
    /// Opens the bucket of an environment. Sends no request.
    ///
    /// # Errors
    /// [`Error::Settings`]: the environment's settings are invalid.
    pub(crate) fn open(cloud: &Cloud) -> Result<Self, Error> {
        install_tls_provider();
        // An archive is one response, so there is no timeout for a whole response. The deployment has one.
        let options = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout_disabled();
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: MAX_RETRIES, retry_timeout: REQUEST_TIMEOUT };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&cloud.bucket)
            .with_region(&cloud.region)
            .with_client_options(options)
            .with_retry(retry);
        if let Some(endpoint) = &cloud.endpoint {
            let plain = endpoint.starts_with("http://");
            builder = builder.with_endpoint(endpoint).with_allow_http(plain).with_virtual_hosted_style_request(false);
        } else {
            builder = builder.with_virtual_hosted_style_request(true);
        }
        if let Some((id, secret)) = &cloud.credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
        } else {
            builder = with_role(builder);
        }
        let store = builder.build().map_err(|error| {
            tracing::info!(%error, bucket = cloud.bucket, "cannot open a bucket");
            Error::Settings(format!("The bucket {:?} cannot be used with the environment's settings.", cloud.bucket))
        })?;
        Ok(Self { store, name: cloud.bucket.clone(), prefix: cloud.prefix.clone() })
    }

    /// The path of a deployment's archive.
    pub(crate) fn place(&self, organization: &OrganizationId, agent: &AgentId, deployment: &DeploymentId) -> Path {
        Path::from(format!("{}{organization}/{agent}/{deployment}", self.prefix))
    }

    /// Makes a link that takes one archive by `PUT`.
    ///
    /// # Errors
    /// There are no credentials to sign with.
    pub(crate) async fn link(&self, place: &Path, good_for: Duration) -> Result<Url, Error> {
        self.store.signed_url(Method::PUT, place, good_for).await.map_err(|error| self.failed("make a link", &error))
    }

    /// The size of an archive. `None` if nothing was uploaded.
    ///
    /// # Errors
    /// S3 failed, or the bucket does not exist.
    pub(crate) async fn size(&self, place: &Path) -> Result<Option<u64>, Error> {
        match self.store.head(place).await {
            Ok(about) => Ok(Some(about.size)),
            Err(object_store::Error::NotFound { .. }) => self.check_exists().await.map(|()| None),
            Err(error) => Err(self.failed("read the archive", &error)),
        }
    }

    /// The bytes of an archive. Continues after dropped connections.
    ///
    /// # Errors
    /// S3 failed, the bucket does not exist, or nothing was uploaded.
    pub(crate) async fn read(&self, place: &Path) -> Result<BoxStream<'static, object_store::Result<Bytes>>, Error> {
        match self.store.get(place).await {
            Ok(found) => Ok(found.into_stream()),
            Err(object_store::Error::NotFound { .. }) => {
                self.check_exists().await?;
                Err(Error::nothing_there())
            }
            Err(error) => Err(self.failed("read the archive", &error)),
        }
    }

    /// Deletes an archive, if it is there.
    ///
    /// # Errors
    /// S3 failed, or the bucket does not exist.
    pub(crate) async fn delete(&self, place: &Path) -> Result<(), Error> {
        self.store.delete(place).await.map_err(|error| self.failed("delete the archive", &error))
    }

    /// Tells a missing bucket from a missing object: S3 answers 404 to reading either. Deleting a missing object succeeds,
    /// so `NotFound` means that there is no bucket. Any other failure says nothing about the bucket.
    async fn check_exists(&self) -> Result<(), Error> {
        let probe = Path::from(format!("{}{PROBE}", self.prefix));
        match self.store.delete(&probe).await {
            Err(error @ object_store::Error::NotFound { .. }) => Err(self.failed("find the archive", &error)),
            _ => Ok(()),
        }
    }

    /// Makes the error of a call for which `NotFound` means that there is no bucket. S3's own text stays in the log: it may
    /// repeat a signed URL.
    fn failed(&self, action: &str, error: &object_store::Error) -> Error {
        use object_store::Error as E;
        tracing::info!(bucket = self.name, action, %error, "a request to S3 failed");
        let name = &self.name;
        match error {
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Error::Settings(format!(
                "S3 does not let us {action} in the bucket {name:?}: the environment's credentials need s3:GetObject, \
                 s3:PutObject and s3:DeleteObject there, and must not have expired."
            )),
            E::NotFound { .. } => Error::Settings(format!("There is no bucket {name:?} in this region.")),
            _ => Error::Unreachable(format!("S3 failed to {action} in the bucket {name:?}; retrying.")),
        }
    }
}

/// Adds the role of a pod (IRSA), a container or a machine, from the process's environment.
fn with_role(mut builder: AmazonS3Builder) -> AmazonS3Builder {
    use object_store::aws::AmazonS3ConfigKey as Key;
    for (name, key) in [
        ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
        ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
        ("AWS_SESSION_TOKEN", Key::Token),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", Key::RoleArn),
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
    ] {
        if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

#[cfg(test)]
mod tests;
