//! Amazon's registry, as far as it is more than a registry: repositories have to be made, with a lifecycle, and the
//! password is asked for.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ecr::Client;
use aws_sdk_ecr::config::Credentials;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::types::ImageScanningConfiguration;
use aws_smithy_http_client::tls;

use super::{CloudError, cryptography};
use crate::config::Secret;
use crate::environments::Cloud;

/// One call with all of its attempts.
const PATIENCE: Duration = Duration::from_secs(30);
/// Images of a repository that are kept: more than versions of an agent are.
const KEPT_IMAGES: u32 = 30;

pub struct Ecr(Client);

impl Ecr {
    pub async fn open(cloud: &Cloud) -> Self {
        cryptography();
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(ring).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
            .region(Region::new(cloud.region.clone()));
        if let Some((id, secret)) = &cloud.credentials {
            loader = loader.credentials_provider(Credentials::new(id, secret.expose(), None, None, "environment"));
        }
        if let Some(endpoint) = &cloud.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Self(Client::new(&loader.load().await))
    }

    /// Makes the repository where there is none, with a lifecycle policy: old images are removed by ECR.
    ///
    /// # Errors
    /// Rights that are missing, or ECR's failure.
    pub async fn ensure(&self, repository: &str) -> Result<(), CloudError> {
        let scan = ImageScanningConfiguration::builder().scan_on_push(true).build();
        let made = self.0.create_repository().repository_name(repository).image_scanning_configuration(scan).send();
        match made.await {
            Ok(_) => tracing::info!(repository, "a repository was made in ECR"),
            Err(error) if code(&error) == Some("RepositoryAlreadyExistsException") => return Ok(()),
            Err(error) => return Err(failed("ecr:CreateRepository", repository, &error)),
        }
        let policy = serde_json::json!({ "rules": [{
            "rulePriority": 1,
            "description": "Cofferdam keeps the newest images of an agent",
            "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT_IMAGES },
            "action": { "type": "expire" },
        }] });
        let put = self.0.put_lifecycle_policy().repository_name(repository).lifecycle_policy_text(policy.to_string());
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(failed("ecr:PutLifecyclePolicy", repository, &error)),
        }
    }

    /// A name and password for the registry, good for some hours.
    ///
    /// # Errors
    /// Rights that are missing, or ECR's failure.
    pub async fn token(&self) -> Result<Secret, CloudError> {
        let answer = self.0.get_authorization_token().send().await;
        let answer = answer.map_err(|error| failed("ecr:GetAuthorizationToken", "the registry", &error))?;
        let token = answer.authorization_data().first().and_then(|data| data.authorization_token());
        let none = || CloudError::Unreachable("ECR answered without a token. It is tried again.".to_owned());
        Ok(Secret::new(token.ok_or_else(none)?))
    }
}

fn code<E, R>(error: &SdkError<E, R>) -> Option<&str>
where
    E: ProvideErrorMetadata,
{
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn failed<E, R>(action: &str, what: &str, error: &SdkError<E, R>) -> CloudError
where
    E: ProvideErrorMetadata,
{
    let code = code(error).unwrap_or_default();
    tracing::info!(action, what, code, "ECR was asked in vain");
    match error {
        SdkError::ServiceError(_) if code.contains("Throttl") || code.contains("Server") => {
            CloudError::Unreachable(format!("ECR did not do {action} for {what} ({code}). It is tried again."))
        }
        SdkError::ServiceError(_) => CloudError::Settings(format!(
            "ECR refused {action} for {what} ({code}): the environment's credentials need that right, and must not have \
             expired."
        )),
        SdkError::ConstructionFailure(_) => CloudError::Settings(format!(
            "ECR cannot be asked for {what}: there are no credentials. Give the environment some, or this process a role."
        )),
        _ => CloudError::Unreachable(format!("ECR cannot be reached for {what}. It is tried again.")),
    }
}
