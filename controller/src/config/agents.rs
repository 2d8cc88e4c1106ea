//! Parses the settings of container agents: the environment `local`, limits, timeouts, and the agents' egress.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam_contract::AllowedPods;
use cofferdam_core::{ConfigError, Source, is_label};
use cofferdam_deployments::{DeploymentsConfig, Timing};
use cofferdam_environments::{ImageCompression, LocalCluster, LocalEnvironment, images_place};
use cofferdam_policy::{Cidr, RegistriesConfig};
use cofferdam_uploads::UploadsConfig;

use super::ConfigFile;

/// The file in which a pod finds its service account's token.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) fn deployments(source: &Source<'_>, uploads: &UploadsConfig) -> Result<DeploymentsConfig, ConfigError> {
    let default = DeploymentsConfig::default();
    let start = source.number("COFFERDAM_AGENT_START_S", None, default.timing.start.as_secs())?;
    Ok(DeploymentsConfig {
        max_agents: source.number("COFFERDAM_MAX_AGENTS", None, default.max_agents)?,
        max_unsettled: source.number("COFFERDAM_MAX_DEPLOYMENTS", None, default.max_unsettled)?,
        timing: Timing { start: Duration::from_secs(start), resume: uploads.wait, ..default.timing },
    })
}

/// The most tasks that a process may run at once.
const MAX_SLOTS: u64 = 10_000;

/// Agents' tasks that this process runs at once.
pub(super) fn slots(source: &Source<'_>, file: &ConfigFile) -> Result<usize, ConfigError> {
    let slots = source.number("COFFERDAM_AGENT_SLOTS", file.agent_slots, 64)?;
    match usize::try_from(slots) {
        Ok(found) if slots <= MAX_SLOTS => Ok(found),
        _ => Err(ConfigError::value("COFFERDAM_AGENT_SLOTS", format!("at most {MAX_SLOTS}"))),
    }
}

pub(super) fn egress(source: &Source<'_>) -> Result<Vec<Cidr>, ConfigError> {
    let ranges = source.list("COFFERDAM_AGENT_EGRESS").unwrap_or_default();
    let invalid = |reason| ConfigError::value("COFFERDAM_AGENT_EGRESS", reason);
    ranges.iter().map(|range| Cidr::parse(range).map_err(invalid)).collect()
}

pub(super) fn local_environment(
    source: &Source<'_>,
    registries: &RegistriesConfig,
) -> Result<LocalEnvironment, ConfigError> {
    let default = LocalEnvironment::default();
    let images = source.text("COFFERDAM_IMAGES");
    let plain_http = images.as_deref().is_some_and(|text| {
        let host = text.split('/').next().unwrap_or_default();
        text.starts_with("http://") || registries.find(host).is_some_and(|known| known.plain_http)
    });
    let place = |name: &str, text: Option<String>| match text {
        Some(text) => images_place(text.trim_start_matches("http://"))
            .map(Some)
            .map_err(|reason| ConfigError::value(name, reason)),
        None => Ok(None),
    };
    let architecture = source.text("COFFERDAM_ARCHITECTURE").unwrap_or(default.architecture);
    if !["amd64", "arm64"].contains(&architecture.as_str()) {
        return Err(ConfigError::value("COFFERDAM_ARCHITECTURE", "must be amd64 or arm64"));
    }
    let namespace = source.text("COFFERDAM_NAMESPACE").unwrap_or(default.namespace);
    if !is_label(&namespace) {
        return Err(ConfigError::value("COFFERDAM_NAMESPACE", format!("{namespace:?} is not a valid namespace")));
    }
    let listed = |name: &str| source.list(name).unwrap_or_default();
    Ok(LocalEnvironment {
        images: place("COFFERDAM_IMAGES", images)?,
        images_pull: place("COFFERDAM_IMAGES_PULL", source.text("COFFERDAM_IMAGES_PULL"))?,
        plain_http,
        namespace,
        architecture,
        runtime_class: source.text("COFFERDAM_RUNTIME_CLASS"),
        image_pull_secrets: listed("COFFERDAM_IMAGE_PULL_SECRETS"),
        allow_in_images: listed("COFFERDAM_ALLOW_IN_IMAGES"),
        compression: compression(source)?,
        pods: allowed_pods(source)?,
        cluster: local_cluster(source),
    })
}

/// Pod settings that deployments into `local` may use: none, unless a variable lists them.
fn allowed_pods(source: &Source<'_>) -> Result<AllowedPods, ConfigError> {
    let listed = |name: &str| source.list(name).unwrap_or_default();
    let replicas = source.number("COFFERDAM_AGENT_MAX_REPLICAS", None, 1)?;
    let pods = AllowedPods {
        labels: listed("COFFERDAM_AGENT_LABELS"),
        annotations: listed("COFFERDAM_AGENT_ANNOTATIONS"),
        tolerations: listed("COFFERDAM_AGENT_TOLERATIONS"),
        priority_classes: listed("COFFERDAM_AGENT_PRIORITY_CLASSES"),
        claims: listed("COFFERDAM_AGENT_CLAIMS"),
        max_replicas: u32::try_from(replicas).ok().filter(|most| *most != 1),
    };
    pods.check().map_err(|why| ConfigError::value("COFFERDAM_AGENT_*", why))?;
    Ok(pods)
}

fn compression(source: &Source<'_>) -> Result<ImageCompression, ConfigError> {
    const NAME: &str = "COFFERDAM_IMAGES_COMPRESSION";
    source.text(NAME).map_or(Ok(ImageCompression::default()), |text| {
        ImageCompression::parse(&text).map_err(|words| ConfigError::value(NAME, format!("must be {words}")))
    })
}

/// The first existing file of `KUBECONFIG`, else the cluster that this process's pod is in.
fn local_cluster(source: &Source<'_>) -> LocalCluster {
    if let Some(text) = source.text("KUBECONFIG") {
        let files: Vec<PathBuf> = text.split(':').filter(|f| !f.is_empty()).map(PathBuf::from).collect();
        let file = files.iter().find(|file| file.is_file()).or_else(|| files.first());
        if let Some(file) = file {
            return LocalCluster::Kubeconfig(file.clone(), source.text("COFFERDAM_KUBE_CONTEXT"));
        }
    }
    let in_pod = source.text("KUBERNETES_SERVICE_HOST").is_some() && Path::new(SERVICE_ACCOUNT).exists();
    if in_pod { LocalCluster::InCluster } else { LocalCluster::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(env: &[(&str, &str)]) -> Result<LocalEnvironment, String> {
        let look = |name: &str| env.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        let source = Source::new(&look);
        let registries = crate::config::registries::parse(&source, &crate::config::ConfigFile::default()).unwrap();
        local_environment(&source, &registries).map_err(|e| e.to_string())
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
            ("COFFERDAM_IMAGES_COMPRESSION", "zstd"),
            ("KUBECONFIG", &kubeconfig),
        ])
        .unwrap();
        assert_eq!(local.compression, ImageCompression::Zstd);
        assert_eq!(local.images.as_deref(), Some("127.0.0.1:5000/agents"));
        assert_eq!(local.images_pull.as_deref(), Some("registry.local:5000/agents"));
        assert!(local.plain_http);
        assert_eq!((local.architecture.as_str(), local.namespace.as_str()), ("arm64", "cofferdam-agents"));
        assert_eq!(local.cluster, LocalCluster::Kubeconfig(file, None));
        let pods = parse(&[("COFFERDAM_AGENT_LABELS", "team, example.com/*")]).unwrap().pods;
        assert_eq!(pods.labels, ["team", "example.com/*"]);
        assert!(parse(&[("COFFERDAM_AGENT_CLAIMS", "Not A Claim")]).unwrap_err().contains("pods.claims"));
        // Either of the two says it.
        let named = [("COFFERDAM_IMAGES", "r.example:5000/x"), ("COFFERDAM_REGISTRIES", "http://r.example:5000")];
        assert!(parse(&named).unwrap().plain_http);
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
            ("COFFERDAM_IMAGES_COMPRESSION", "Brotli"),
            ("COFFERDAM_NAMESPACE", "Bad_Name"),
        ] {
            assert!(parse(&[(name, value)]).unwrap_err().contains(name), "{name}={value}");
        }
    }
}
