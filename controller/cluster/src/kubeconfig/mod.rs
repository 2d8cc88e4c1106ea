//! Kubeconfigs: checked before anything in them is used, with errors that quote none of their content. A caller's kubeconfig
//! never makes this process run a program, read a file, or dial an address that only this machine reaches.

use std::net::IpAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cofferdam_policy::Cidr;
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};

use crate::ClusterError;
use crate::dial::forbidden;

/// The largest kubeconfig that is read.
const MAX_BYTES: usize = 256 * 1_024;

/// Decodes a kubeconfig from base64.
///
/// # Errors
/// [`ClusterError::Settings`] if it is too long, no base64, or no text.
pub fn decode(base64: &str) -> Result<String, ClusterError> {
    let wrong = |problem: &str| {
        ClusterError::Settings(format!(
            "The kubeconfig {problem}. Send the file in base64, as `base64 -w0 ~/.kube/config` prints it"
        ))
    };
    if base64.len() > MAX_BYTES * 4 / 3 + 4 {
        return Err(wrong(&format!("is longer than {MAX_BYTES} bytes")));
    }
    let compact: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(compact).map_err(|_| wrong("is not base64"))?;
    String::from_utf8(bytes).map_err(|_| wrong("is not text"))
}

/// Checks a caller's kubeconfig, without asking its cluster.
///
/// # Errors
/// [`ClusterError::Settings`] that says what to change.
pub(crate) fn check(yaml: &str, context: Option<&str>, private: &[Cidr]) -> Result<(), ClusterError> {
    handed_over(yaml, context, private).map(|_| ())
}

/// The settings of a caller's kubeconfig.
pub(crate) fn handed_over(yaml: &str, context: Option<&str>, private: &[Cidr]) -> Result<kube::Config, ClusterError> {
    if yaml.len() > MAX_BYTES {
        return Err(settings(format!("is longer than {MAX_BYTES} bytes: keep only the context that is needed")));
    }
    let kubeconfig = Kubeconfig::from_yaml(yaml).map_err(|e| unreadable(&e))?;
    let chosen = choose(kubeconfig, context)?;
    refuse_reach(&chosen.cluster, &chosen.user)?;
    let config = chosen.config()?;
    check_server(&config, private)?;
    Ok(config)
}

/// The settings of the operator's own kubeconfig. Reads the files that it names.
pub(crate) fn operators(path: &Path, context: Option<&str>) -> Result<kube::Config, ClusterError> {
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| match error {
        KubeconfigError::ReadConfig(e, path) => {
            ClusterError::Settings(format!("KUBECONFIG names {}, which cannot be read: {e}", path.display()))
        }
        error => unreadable(&error),
    })?;
    choose(kubeconfig, context)?.config()
}

/// One context of a kubeconfig.
struct Chosen {
    /// A kubeconfig with nothing but this context.
    whole: Kubeconfig,
    cluster: Cluster,
    user: AuthInfo,
}

/// Picks the named context, or the current one.
fn choose(mut kubeconfig: Kubeconfig, context: Option<&str>) -> Result<Chosen, ClusterError> {
    let known: Vec<String> = kubeconfig.contexts.iter().take(10).map(|named| shown(&named.name)).collect();
    let name = match (context, kubeconfig.current_context.take()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(name)) if !name.is_empty() => name,
        _ => return Err(settings("has no current-context: set one, or name the context".to_owned())),
    };
    let context = kubeconfig.contexts.into_iter().find(|named| named.name == name);
    let Some(context) = context.filter(|named| named.context.is_some()) else {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(settings(format!("has no context {}; it has {known}", shown(&name))));
    };
    let of = context.context.clone().unwrap_or_default();
    let cluster = kubeconfig.clusters.into_iter().find(|named| named.name == of.cluster);
    let Some((cluster, named_cluster)) = cluster.and_then(|named| Some((named.cluster.clone()?, named))) else {
        return Err(settings(format!(
            "has no cluster {}, which its context {} names",
            shown(&of.cluster),
            shown(&name)
        )));
    };
    let user = of.user.as_ref().and_then(|user| kubeconfig.auth_infos.into_iter().find(|named| &named.name == user));
    let whole = Kubeconfig {
        clusters: vec![named_cluster],
        contexts: vec![context],
        auth_infos: user.iter().cloned().collect(),
        current_context: Some(name),
        ..Kubeconfig::default()
    };
    Ok(Chosen { whole, cluster, user: user.and_then(|named| named.auth_info).unwrap_or_default() })
}

impl Chosen {
    fn config(self) -> Result<kube::Config, ClusterError> {
        let has_proxy = self.cluster.proxy_url.is_some();
        let mut config = kube::Config::try_from(self.whole).map_err(|e| unusable(&e))?;
        if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
            return Err(settings("has a certificate-authority without a certificate in it".to_owned()));
        }
        if !has_proxy {
            // kube would take a proxy from this process's environment, which is meant for other servers.
            config.proxy_url = None;
        }
        Ok(config)
    }
}

/// Refuses programs, files and proxies of the sender's choice.
fn refuse_reach(cluster: &Cluster, user: &AuthInfo) -> Result<(), ClusterError> {
    let programs = [("exec", user.exec.is_some()), ("auth-provider", user.auth_provider.is_some())];
    if let Some((field, _)) = programs.iter().find(|(_, there)| *there) {
        return Err(settings(format!(
            "gets its credentials from a program ({field}), and programs of callers are not run. Put a token or a client \
             certificate into it, such as a service account's: `kubectl create token NAME --duration=8760h`"
        )));
    }
    let files = [
        ("certificate-authority", cluster.certificate_authority.is_some()),
        ("client-certificate", user.client_certificate.is_some()),
        ("client-key", user.client_key.is_some()),
        ("tokenFile", user.token_file.is_some()),
    ];
    if let Some((field, _)) = files.iter().find(|(_, there)| *there) {
        return Err(settings(format!(
            "names a file ({field}), which does not exist where the controller runs. Include the file's content: \
             `kubectl config view --raw --flatten --minify`"
        )));
    }
    if cluster.proxy_url.is_some() {
        return Err(settings("names a proxy (proxy-url), which only the operator's own kubeconfig may".to_owned()));
    }
    Ok(())
}

/// Checks the server's address of a caller's kubeconfig. Names are checked again when they are dialled.
fn check_server(config: &kube::Config, private: &[Cidr]) -> Result<(), ClusterError> {
    let url = &config.cluster_url;
    if url.scheme_str() != Some("https") {
        return Err(settings("has a server that is not https: credentials would be sent in the clear".to_owned()));
    }
    let (Some(authority), Some(host)) = (url.authority(), url.host()) else {
        return Err(settings("has a server without a host".to_owned()));
    };
    if authority.as_str().contains('@') {
        return Err(settings(
            "has credentials in its server's address: use `token` or a client certificate".to_owned(),
        ));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>()
        && forbidden(address, private)
    {
        return Err(settings(format!(
            "has a server at {address}, an address of this machine or of its own network: the operator can allow it in the \
             policy's network.private"
        )));
    }
    Ok(())
}

fn settings(problem: String) -> ClusterError {
    ClusterError::Settings(format!("The kubeconfig {problem}"))
}

/// A name in a kubeconfig, quoted and bounded.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(80).collect::<String>())
}

fn unreadable(error: &KubeconfigError) -> ClusterError {
    match error {
        KubeconfigError::Parse(error) => {
            // The error itself may quote the line.
            let place = error.location().map(|place| format!(" (line {}, column {})", place.line(), place.column()));
            settings(format!("is not a kubeconfig in YAML{}", place.unwrap_or_default()))
        }
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            settings("has several documents that do not fit together".to_owned())
        }
        error => unusable(error),
    }
}

fn unusable(error: &KubeconfigError) -> ClusterError {
    settings(match error {
        KubeconfigError::MissingClusterUrl => "has a cluster without a server".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => "has a server that is no address (https://host:port)".to_owned(),
        KubeconfigError::LoadCertificateAuthority(_) => {
            "has a certificate-authority that cannot be read: its data is the base64 of a PEM file".to_owned()
        }
        KubeconfigError::ParseCertificates(_) => "has a certificate-authority that is not PEM".to_owned(),
        KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
            "has a client certificate or key that cannot be read: its data is the base64 of a PEM file".to_owned()
        }
        KubeconfigError::ParseProxyUrl(_) => "has a proxy-url that is no address".to_owned(),
        _ => "cannot be used".to_owned(),
    })
}

#[cfg(test)]
mod tests;
