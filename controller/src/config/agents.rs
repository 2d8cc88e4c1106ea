//! Container agents: the environment `local`, how many there may be, and how long what may take.

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, ConfigFile, Secret, Source};
use crate::policy::Cidr;

/// Where a pod finds the service account that it may use.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

#[derive(Debug, Clone)]
pub struct AgentsConfig {
    pub local: LocalEnvironment,
    /// Agents of one organization.
    pub max: u64,
    /// Deployments of one organization that are on their way.
    pub max_unsettled: u64,
    /// What agents may reach beside the gateway and the controller, where the controller is not in their cluster.
    pub egress: Vec<Cidr>,
    pub timing: Timing,
}

/// The environment `local`, as this process is told it.
#[derive(Debug, Clone)]
pub struct LocalEnvironment {
    /// `host[:port][/prefix]` that we push to.
    pub images: Option<String>,
    /// The same place as nodes name it.
    pub images_pull: Option<String>,
    pub plain_http: bool,
    pub namespace: String,
    pub architecture: String,
    pub runtime_class: Option<String>,
    pub image_pull_secrets: Vec<String>,
    /// Where in layers `.env` files and private keys are let through.
    pub allow_in_images: Vec<String>,
    pub cluster: LocalCluster,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalCluster {
    /// The first file of `KUBECONFIG`, and the context that `COFFERDAM_KUBE_CONTEXT` names.
    Kubeconfig(PathBuf, Option<String>),
    InCluster,
    None,
}

/// How long what may take. Not all of it is a setting.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A new version has this time to become ready.
    pub start: Duration,
    /// It counts as ready after being so for this time.
    pub steady: Duration,
    /// A version that crashes within this time is rolled back at its first crash.
    pub probation: Duration,
    /// How often a version on its way up is looked at.
    pub look: Duration,
    /// How often one that serves is.
    pub watch: Duration,
    /// How often the driver looks for work that others have left in the store.
    pub poll: Duration,
    /// How long a lease is, and how often it is prolonged.
    pub lease: Duration,
    pub heartbeat: Duration,
    /// A cluster that cannot be reached is tried again after this time, and after twice as long each time, up to `retry_most`.
    pub retry: Duration,
    pub retry_most: Duration,
    /// For so long in all, while a version is on its way up.
    pub patience: Duration,
    /// One call of the cluster.
    pub call: Duration,
    /// An upload that nothing is heard of is given up after this time.
    pub upload: Duration,
    /// Environments are searched for what does not belong there.
    pub reconcile: Duration,
    /// What does not belong there is left alone for this time.
    pub stray: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            start: s(300),
            steady: s(3),
            probation: s(600),
            look: Duration::from_millis(500),
            watch: s(10),
            poll: s(1),
            lease: s(15),
            heartbeat: s(4),
            retry: s(1),
            retry_most: s(30),
            patience: s(600),
            call: s(60),
            upload: s(3_600),
            reconcile: s(60),
            stray: s(600),
        }
    }
}

impl AgentsConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<Self, ConfigError> {
        let timing = Timing::default();
        let start = source.number("COFFERDAM_AGENT_START_S", None, timing.start.as_secs())?;
        let ranges = source.list("COFFERDAM_AGENT_EGRESS").unwrap_or_default();
        let wrong = |reason: String| ConfigError::value("COFFERDAM_AGENT_EGRESS", reason);
        Ok(Self {
            egress: ranges.iter().map(|range| Cidr::parse(range).map_err(wrong)).collect::<Result<_, _>>()?,
            local: LocalEnvironment::parse(source, file)?,
            max: source.number("COFFERDAM_MAX_AGENTS", None, 1_000)?,
            max_unsettled: source.number("COFFERDAM_MAX_DEPLOYMENTS", None, 100)?,
            timing: Timing { start: Duration::from_secs(start), ..timing },
        })
    }
}

impl LocalEnvironment {
    fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<Self, ConfigError> {
        let images = source.text("COFFERDAM_IMAGES");
        let plain_http = images.as_deref().is_some_and(|text| text.starts_with("http://"))
            || images.as_deref().is_some_and(|text| {
                let host = text.split('/').next().unwrap_or_default();
                file.registries.get(host).is_some_and(|known| known.plain_http)
            });
        let place = |name: &str, text: Option<String>| match text {
            Some(text) => images_place(text.trim_start_matches("http://"))
                .map(Some)
                .map_err(|reason| ConfigError::value(name, reason)),
            None => Ok(None),
        };
        let architecture = source.text("COFFERDAM_ARCHITECTURE").unwrap_or_else(|| own_architecture().to_owned());
        if !["amd64", "arm64"].contains(&architecture.as_str()) {
            return Err(ConfigError::value("COFFERDAM_ARCHITECTURE", "is amd64 or arm64"));
        }
        let namespace = source.text("COFFERDAM_NAMESPACE").unwrap_or_else(|| "cofferdam-agents".to_owned());
        if !is_label(&namespace) {
            return Err(ConfigError::value("COFFERDAM_NAMESPACE", format!("{namespace:?} is not a namespace's name")));
        }
        let listed = |name: &str| source.list(name).unwrap_or_default();
        Ok(Self {
            images: place("COFFERDAM_IMAGES", images)?,
            images_pull: place("COFFERDAM_IMAGES_PULL", source.text("COFFERDAM_IMAGES_PULL"))?,
            plain_http,
            namespace,
            architecture,
            runtime_class: source.text("COFFERDAM_RUNTIME_CLASS"),
            image_pull_secrets: listed("COFFERDAM_IMAGE_PULL_SECRETS"),
            allow_in_images: listed("COFFERDAM_ALLOW_IN_IMAGES"),
            cluster: LocalCluster::find(source),
        })
    }
}

impl LocalCluster {
    fn find(source: &Source<'_>) -> Self {
        if let Some(text) = source.text("KUBECONFIG") {
            let files: Vec<PathBuf> = text.split(':').filter(|f| !f.is_empty()).map(PathBuf::from).collect();
            let file = files.iter().find(|file| file.is_file()).or_else(|| files.first());
            if let Some(file) = file {
                return Self::Kubeconfig(file.clone(), source.text("COFFERDAM_KUBE_CONTEXT"));
            }
        }
        let in_pod = source.text("KUBERNETES_SERVICE_HOST").is_some() && std::path::Path::new(SERVICE_ACCOUNT).exists();
        if in_pod { Self::InCluster } else { Self::None }
    }
}

/// What registries and Kubernetes call this machine.
pub fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// `host[:port][/prefix]`, as it is written without a `/` at its end.
///
/// # Errors
/// What is wrong with it.
pub fn images_place(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
    let authority = host.parse::<http::uri::Authority>();
    if host.is_empty() || text.len() > 200 || authority.is_err() || host.contains('@') {
        return Err(format!("{text:?} is not HOST[:PORT][/PREFIX]"));
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let part = |part: &str| {
        part.bytes().all(plain)
            && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && part.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric())
    };
    if !prefix.is_empty() && !prefix.split('/').all(part) {
        return Err(format!("{prefix:?} cannot be the begin of a repository's name: a-z, 0-9, `.`, `_`, `-` and `/`"));
    }
    Ok(text.to_owned())
}

/// A DNS label, as Kubernetes wants them.
pub fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| plain(b) || b == b'-')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().next_back().is_some_and(plain)
}

impl Default for LocalEnvironment {
    /// Without a registry and without a cluster.
    fn default() -> Self {
        Self {
            images: None,
            images_pull: None,
            plain_http: false,
            namespace: "cofferdam-agents".to_owned(),
            architecture: own_architecture().to_owned(),
            runtime_class: None,
            image_pull_secrets: Vec::new(),
            allow_in_images: Vec::new(),
            cluster: LocalCluster::None,
        }
    }
}

/// A registry's credentials of the operator's, by host.
pub fn credentials_for<'a>(registries: &'a super::RegistriesConfig, place: &str) -> Option<&'a (String, Secret)> {
    let host = place.split('/').next().unwrap_or_default();
    registries.find(host).and_then(|access| access.credentials.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(env: &[(&str, &str)]) -> Result<LocalEnvironment, String> {
        let look = |name: &str| env.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        LocalEnvironment::parse(&Source::new(&look), &ConfigFile::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_local_environment_is_what_the_variables_say() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "x").unwrap();
        let kubeconfig = format!("/no/such/file:{}", file.display());
        let local = parse(&[
            ("COFFERDAM_IMAGES", "http://127.0.0.1:5000/agents/"),
            ("COFFERDAM_IMAGES_PULL", "registry.local:5000/agents"),
            ("COFFERDAM_ARCHITECTURE", "arm64"),
            ("KUBECONFIG", &kubeconfig),
        ])
        .unwrap();
        assert_eq!(local.images.as_deref(), Some("127.0.0.1:5000/agents"));
        assert_eq!(local.images_pull.as_deref(), Some("registry.local:5000/agents"));
        assert!(local.plain_http);
        assert_eq!((local.architecture.as_str(), local.namespace.as_str()), ("arm64", "cofferdam-agents"));
        assert_eq!(local.cluster, LocalCluster::Kubeconfig(file, None));
        let nothing = parse(&[]).unwrap();
        assert_eq!((nothing.images, nothing.cluster), (None, LocalCluster::None));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (name, value) in [
            ("COFFERDAM_IMAGES", "user:pass@host/x"),
            ("COFFERDAM_IMAGES", "https://host/x"),
            ("COFFERDAM_IMAGES", "host/UPPER"),
            ("COFFERDAM_IMAGES", "host/../x"),
            ("COFFERDAM_IMAGES_PULL", "/x"),
            ("COFFERDAM_ARCHITECTURE", "x86_64"),
            ("COFFERDAM_NAMESPACE", "Bad_Name"),
        ] {
            assert!(parse(&[(name, value)]).unwrap_err().contains(name), "{name}={value}");
        }
    }
}
