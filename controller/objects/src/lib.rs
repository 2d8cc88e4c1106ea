//! Object stores for bytes that are too many for the database: a folder, S3, Google Cloud Storage or Azure, by URL.
//!
//! Opens a store and sets its timeouts and retries. Never decides what is stored, and never shows a credential.

mod s3;

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::{Blame, Failure};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

pub use s3::{S3, s3};

/// The timeout of one request, including the body of its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of all attempts of one call together.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// An opened object store. Clones share it.
pub type AnyObjects = Arc<dyn ObjectStore>;

/// Why an object store cannot be used. The operator has to fix it.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The URL is invalid. Never shows credentials or a query.
    #[error("COFFERDAM_OBJECT_STORE: {0}")]
    Url(String),
    #[error("the object store {place} cannot be used: {why}; check COFFERDAM_OBJECT_STORE and the credentials")]
    Store { place: String, why: String },
    #[error("the folder {place} cannot be used as an object store: {why}")]
    Folder { place: String, why: String },
}

impl Failure for ObjectsError {
    fn blame(&self) -> Blame<'_> {
        Blame::Internal
    }
}

/// Opens the store at `url`: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
/// Credentials come from the cloud's own environment variables, or from the machine or pod. Makes no request.
///
/// # Errors
/// The URL is of another kind, or the settings contradict each other.
pub fn open(url: &str) -> Result<AnyObjects, ObjectsError> {
    tls();
    let parsed = Url::parse(url).map_err(|e| ObjectsError::Url(format!("not a URL: {e}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let why = "the URL must not contain credentials; set AWS_ACCESS_KEY_ID and the like";
        return Err(ObjectsError::Url(why.to_owned()));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(ObjectsError::Url("`?` and `#` are not supported".to_owned()));
    }
    if parsed.scheme() == "file" {
        let path = parsed.to_file_path().map_err(|()| ObjectsError::Url("write file:///FOLDER".to_owned()))?;
        return folder(&path);
    }
    let bucket = parsed.host_str().filter(|host| !host.is_empty());
    let bucket = bucket.ok_or_else(|| ObjectsError::Url("write SCHEME://BUCKET/PREFIX".to_owned()))?;
    let place = format!("{}://{bucket}{}", parsed.scheme(), parsed.path());
    let failed = |error: object_store::Error| ObjectsError::Store { place: place.clone(), why: error.to_string() };
    let prefix = Path::from_url_path(parsed.path()).map_err(|e| failed(e.into()))?;
    match parsed.scheme() {
        "s3" => {
            let plain = std::env::var("AWS_ENDPOINT_URL_S3").or_else(|_| std::env::var("AWS_ENDPOINT_URL"));
            let plain = plain.or_else(|_| std::env::var("AWS_ENDPOINT")).is_ok_and(|url| url.starts_with("http://"));
            let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(options(plain));
            // The region comes from `from_env`; a server of the operator's own ignores it.
            let store = builder.with_retry(retry()).build().map_err(failed)?;
            Ok(below(store, prefix))
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Ok(below(builder.with_client_options(options(false)).with_retry(retry()).build().map_err(failed)?, prefix))
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            Ok(below(builder.with_client_options(options(false)).with_retry(retry()).build().map_err(failed)?, prefix))
        }
        other => {
            let known = "use file://, s3://, gs:// or az://";
            Err(ObjectsError::Url(format!("{:?} is not a supported kind of object store; {known}", cut(other))))
        }
    }
}

/// Opens a folder as an object store. A folder that does not exist is created for its owner only.
///
/// # Errors
/// The folder cannot be created.
pub fn folder(path: &FilePath) -> Result<AnyObjects, ObjectsError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |why: String| ObjectsError::Folder { place: path.display().to_string(), why };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| failed(e.to_string()))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|e| failed(e.to_string()))?;
    Ok(Arc::new(store))
}

/// A store of a process that keeps no objects: what is put there is gone with the process.
#[must_use]
pub fn none() -> AnyObjects {
    Arc::new(InMemory::new())
}

fn below(store: impl ObjectStore, prefix: Path) -> AnyObjects {
    if prefix.is_root() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Sets the TLS provider of this process, unless one is set.
fn tls() {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
}

/// The options of every client.
fn options(plain_http: bool) -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT).with_allow_http(plain_http)
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(5),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: 4, retry_timeout: RETRY_TIMEOUT }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    #[tokio::test]
    async fn a_folder_stores_objects() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&format!("file://{}/a/b", folder.path().display())).unwrap();
        let name = Path::from("logs/x");
        store.put(&name, "hello".into()).await.unwrap();
        assert_eq!(store.get(&name).await.unwrap().bytes().await.unwrap(), "hello");
        assert!(folder.path().join("a/b/logs/x").is_file());
    }

    #[test]
    fn an_invalid_url_is_refused_without_its_credentials() {
        for url in [
            "",
            "objects",
            "ftp://bucket/x",
            "s3:///x",
            "s3://key:hunter22@bucket",
            "s3://bucket?secret=hunter22",
            "file://host/x",
        ] {
            let error = open(url).unwrap_err().to_string();
            assert!(error.contains("COFFERDAM_OBJECT_STORE") && !error.contains("hunter22"), "{url}: {error}");
        }
    }
}
