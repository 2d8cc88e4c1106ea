//! The API of ECR, beside the registry protocol: makes repositories with a lifecycle, and gets passwords.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ecr::Client;
use aws_sdk_ecr::config::Credentials;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::types::ImageScanningConfiguration;
use aws_smithy_http_client::tls;
use cofferdam_core::Secret;
use cofferdam_environments::Cloud;

use crate::aws::install_tls_provider;
use crate::error::Error;

/// One call with all of its attempts.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Images that ECR keeps in a repository: more than there are versions of an agent.
const KEPT_IMAGES: u32 = 30;

pub(crate) struct Ecr(Client);

impl Ecr {
    pub(crate) async fn open(cloud: &Cloud) -> Self {
        install_tls_provider();
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(ring).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build())
            .region(Region::new(cloud.region.clone()));
        if let Some((id, secret)) = &cloud.credentials {
            loader = loader.credentials_provider(Credentials::new(id, secret.expose(), None, None, "environment"));
        }
        if let Some(endpoint) = &cloud.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Self(Client::new(&loader.load().await))
    }

    /// Makes a repository if it does not exist. Its lifecycle policy lets ECR remove old images.
    ///
    /// # Errors
    /// The credentials lack a permission, or ECR failed.
    pub(crate) async fn ensure(&self, repository: &str) -> Result<(), Error> {
        let scan = ImageScanningConfiguration::builder().scan_on_push(true).build();
        let made = self.0.create_repository().repository_name(repository).image_scanning_configuration(scan).send();
        match made.await {
            Ok(_) => tracing::info!(repository, "created a repository in ECR"),
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

    /// Gets a token for the registry, which is valid for some hours.
    ///
    /// # Errors
    /// The credentials lack a permission, or ECR failed.
    pub(crate) async fn token(&self) -> Result<Secret, Error> {
        let answer = self.0.get_authorization_token().send().await;
        let answer = answer.map_err(|error| failed("ecr:GetAuthorizationToken", "the registry", &error))?;
        let token = answer.authorization_data().first().and_then(|data| data.authorization_token());
        let none = || Error::Unreachable("ECR returned no token; retrying.".to_owned());
        Ok(Secret::new(token.ok_or_else(none)?))
    }
}

fn code<E, R>(error: &SdkError<E, R>) -> Option<&str>
where
    E: ProvideErrorMetadata,
{
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn failed<E, R>(action: &str, what: &str, error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata,
{
    let code = code(error).unwrap_or_default();
    tracing::info!(action, what, code, "a request to ECR failed");
    match error {
        SdkError::ServiceError(_) if code.contains("Throttl") || code.contains("Server") => {
            Error::Unreachable(format!("ECR failed to do {action} for {what} ({code}); retrying."))
        }
        SdkError::ServiceError(_) => Error::Settings(format!(
            "ECR refused {action} for {what} ({code}): the environment's credentials need that permission, and must not \
             have expired."
        )),
        SdkError::ConstructionFailure(_) => Error::Settings(format!(
            "ECR cannot be asked for {what}: there are no credentials. Give the environment some, or this process a role."
        )),
        _ => Error::Unreachable(format!("ECR cannot be reached for {what}; retrying.")),
    }
}
