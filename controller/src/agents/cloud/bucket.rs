//! Where archives wait on their way: objects of an S3 bucket, one for each deployment, written by a presigned link and
//! deleted once the image is in the registry.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::{AgentId, DeploymentId, OrganizationId};
use futures_util::stream::BoxStream;
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig};
use url::Url;

use super::{CloudError, cryptography};
use crate::environments::Cloud;

const CONNECT: Duration = Duration::from_secs(10);
/// One request and all of its attempts.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bucket {
    store: AmazonS3,
    name: String,
    prefix: String,
}

impl Bucket {
    /// # Errors
    /// Settings that cannot be.
    pub fn open(cloud: &Cloud) -> Result<Self, CloudError> {
        cryptography();
        // A whole archive is one answer: no bound on its time here, the deployment has one.
        let options = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout_disabled();
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 8, retry_timeout: PATIENCE };
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
        // Without them it is the role of the machine or of the pod.
        if let Some((id, secret)) = &cloud.credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
        } else {
            builder = from_role(builder);
        }
        let store = builder.build().map_err(|error| {
            tracing::info!(%error, bucket = cloud.bucket, "a bucket cannot be used");
            CloudError::Settings(format!(
                "The bucket {:?} cannot be used with the environment's settings.",
                cloud.bucket
            ))
        })?;
        Ok(Self { store, name: cloud.bucket.clone(), prefix: cloud.prefix.clone() })
    }

    /// Where a deployment's archive lies.
    pub fn place(&self, organization: &OrganizationId, agent: &AgentId, deployment: &DeploymentId) -> Path {
        Path::from(format!("{}{organization}/{agent}/{deployment}", self.prefix))
    }

    /// A link that takes one archive by `PUT` for so long.
    ///
    /// # Errors
    /// No credentials to sign with.
    pub async fn link(&self, place: &Path, good_for: Duration) -> Result<Url, CloudError> {
        self.store.signed_url(Method::PUT, place, good_for).await.map_err(|error| self.failed("a link", &error))
    }

    /// How large the archive is that was uploaded; none where nothing was.
    ///
    /// # Errors
    /// The bucket's failure.
    pub async fn size(&self, place: &Path) -> Result<Option<u64>, CloudError> {
        match self.store.head(place).await {
            Ok(about) => Ok(Some(about.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("the archive", &error)),
        }
    }

    /// The archive's bytes. A connection that drops is brought back where it was.
    ///
    /// # Errors
    /// The bucket's failure, or nothing there.
    pub async fn read(&self, place: &Path) -> Result<BoxStream<'static, object_store::Result<Bytes>>, CloudError> {
        match self.store.get(place).await {
            Ok(found) => Ok(found.into_stream()),
            Err(object_store::Error::NotFound { .. }) => Err(CloudError::NothingThere(
                "Nothing was uploaded to the link. Send the archive with PUT, then deploy again.".to_owned(),
            )),
            Err(error) => Err(self.failed("the archive", &error)),
        }
    }

    /// Nothing to delete is fine.
    ///
    /// # Errors
    /// The bucket's failure.
    pub async fn delete(&self, place: &Path) -> Result<(), CloudError> {
        match self.store.delete(place).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("the archive", &error)),
        }
    }

    /// What S3 says stays in the log: it may repeat a signed address.
    fn failed(&self, what: &str, error: &object_store::Error) -> CloudError {
        use object_store::Error as E;
        tracing::info!(bucket = self.name, what, %error, "S3 was asked in vain");
        let name = &self.name;
        match error {
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => CloudError::Settings(format!(
                "S3 does not let us at {what} in the bucket {name:?}: the environment's credentials need s3:GetObject, \
                 s3:PutObject and s3:DeleteObject there, and must not have expired."
            )),
            E::NotFound { .. } => CloudError::Settings(format!("There is no bucket {name:?} in this region.")),
            _ => CloudError::Unreachable(format!("S3 did not give {what} in the bucket {name:?}. It is tried again.")),
        }
    }
}

/// What a pod with a role of its own (IRSA), a container with one, or a machine with one is told by its environment.
fn from_role(mut builder: AmazonS3Builder) -> AmazonS3Builder {
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
