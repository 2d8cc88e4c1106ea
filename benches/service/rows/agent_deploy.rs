//! A deployment of a container agent whose image is in the registry already: from the request until its Job is applied.

use std::time::Instant;

use anyhow::Context;
use serde_json::json;

use crate::bench::{Bench, root};
use crate::cluster::Cluster;
use crate::finding::{Finding, Unit};
use crate::pusher::{Registry, ours, version, watch};
use crate::service::{Service, program, scratch};
use crate::stats::Samples;

const ROW: &str = "agent-deploy";
const WORK: &str = "deploy with everything pushed, until the Job is applied";
/// Below the limit of deployments in progress, because none of them ever becomes ready.
const AGENTS: usize = 80;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    if version("docker-registry").is_none() {
        let why = "docker-registry is not installed (Debian's package of the same name)";
        return Ok(vec![Finding::failed(ROW, WORK, why)]);
    }
    let (registry, cluster, folder) = (Registry::start()?, Cluster::start()?, scratch()?);
    let archive = root().join("target/examples/hello-agent.tar");
    let archive =
        archive.to_str().filter(|_| archive.is_file()).context("target/examples: `make examples` makes it")?;
    watch(ours(&program(), archive, &registry, "agents/default/hello:1", folder.path()), None)?;
    let kubeconfig = folder.path().join("kubeconfig");
    cluster.write_kubeconfig(&kubeconfig)?;
    let images = format!("http://{}/agents", registry.address);
    let kubeconfig = kubeconfig.to_str().context("a folder with a plain name")?;
    let service = Service::start_with(None, &[("COFFERDAM_IMAGES", &images), ("KUBECONFIG", kubeconfig)])?;
    let mut client = service.client();
    let image = format!("{}/agents/default/hello:1", registry.address);
    let mut samples = Samples::default();
    let mut answers = Samples::default();
    let before = cluster.asked();
    for number in 0..bench.times(AGENTS) {
        let id = format!("bench-{number:03}-x");
        client.call("POST", "/v1/agents", json!({"id": id}).to_string().as_bytes())?.json()?;
        let body =
            json!({"agent_id": id, "action": "deploy", "image": image, "env": {"GREETING": "hello"}}).to_string();
        let started = Instant::now();
        let answer = client.call("POST", "/api/deploy-agent", body.as_bytes())?;
        answers.push(answer.ms);
        answer.json()?;
        let applied = cluster.job(&id)?;
        samples.push(applied.saturating_duration_since(started).as_secs_f64() * 1e3);
    }
    let asked = cluster.asked() - before;
    let finding = Finding::new(ROW, WORK, Unit::Ms)
        .target("under 300 ms of our own time")
        .ours(&samples)
        .at_most("p99", Unit::Ms, samples.p99(), 300.0)
        .add(&format!(
            "{} agents after each other; the answer itself after {} (p50). Registry, database and HTTP are the real ones; \
             the Kubernetes API is one in the measuring process that answers at once ({asked} requests in all, those that \
             look after the agents before among them), so that a cluster's own time comes on top.",
            bench.times(AGENTS),
            Unit::Ms.show(answers.p50()),
        ));
    Ok(vec![finding])
}
