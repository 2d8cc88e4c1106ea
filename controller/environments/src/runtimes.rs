//! Tells whether the nodes of an environment can pull layers that are compressed by zstd, from the container runtimes that
//! they report. A cluster that does not say counts as one that cannot.

use std::time::Duration;

use cofferdam_cluster::ClusterError;

use crate::{Environment, Environments};

/// The time that an upload waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The runtimes that unpack zstd, and the first version of each that does.
const ZSTD_SINCE: [(&str, (u32, u32)); 3] = [("containerd", (1, 5)), ("cri-o", (1, 20)), ("docker", (23, 0))];

impl Environments {
    /// True if all nodes of the environment's cluster say that they have such a runtime. Asks the cluster each time: an
    /// upload takes far longer.
    pub async fn unpacks_zstd(&self, environment: &Environment) -> bool {
        let asked = async { self.connect(environment)?.runtimes().await };
        let Ok(answer) = tokio::time::timeout(TIMEOUT, asked).await else {
            tracing::debug!(environment = environment.name, "the cluster does not list its nodes in time");
            return false;
        };
        match answer {
            Ok(runtimes) => !runtimes.is_empty() && runtimes.iter().all(|runtime| unpacks_zstd(runtime)),
            Err(error) => {
                let error: ClusterError = error;
                tracing::debug!(environment = environment.name, %error, "the cluster does not list its nodes");
                false
            }
        }
    }
}

/// `runtime` is as a kubelet reports it, such as `containerd://2.1.9`.
fn unpacks_zstd(runtime: &str) -> bool {
    let Some((name, version)) = runtime.split_once("://") else { return false };
    let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|digits| digits.parse::<u32>().ok());
    let (Some(major), minor) = (number(), number().unwrap_or(0)) else { return false };
    ZSTD_SINCE.iter().any(|(known, since)| *known == name && (major, minor) >= *since)
}

#[cfg(test)]
mod tests {
    use super::unpacks_zstd;

    #[test]
    fn runtimes_that_unpack_zstd() {
        for runtime in [
            "containerd://1.5.0",
            "containerd://2.1.9",
            "containerd://1.7.23-k3s2",
            "containerd://v1.6.8+dirty",
            "containerd://10.0",
            "cri-o://1.20.0",
            "cri-o://2",
            "docker://23.0.1",
            "docker://28.3.2",
        ] {
            assert!(unpacks_zstd(runtime), "{runtime}");
        }
        for runtime in [
            "containerd://1.4.13",
            "cri-o://1.19.7",
            "docker://20.10.24",
            "docker://19.3",
            "kata://9.9",
            "containerd",
            "containerd://",
            "containerd://x.9",
            "",
        ] {
            assert!(!unpacks_zstd(runtime), "{runtime}");
        }
    }
}
