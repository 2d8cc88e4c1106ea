//! The worker's own path without HTTP: from a run request to its outcome, in this process, with the worker's code.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cofferdam_contract::{Language, Limits, OrganizationId, RunId, RunRequest, Status};
use cofferdam_host_api::{Budget, Interrupt};
use cofferdam_runtime::artifact::ArtifactCache;
use cofferdam_runtime::engine::{GUEST_STACK, kernel_engine, start_ticker};
use cofferdam_runtime::fresh::{self, RunFiles};
use cofferdam_runtime::kernel::Kernel;
use cofferdam_runtime::turn::Job;

use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::service::{cache, kernels, scratch};
use crate::stats::{Paired, Samples};

pub fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    // The service's start makes the compiled code and the images that are loaded here.
    bench.service()?;
    let engine = kernel_engine()?;
    start_ticker(&engine)?;
    let (cache, budget) = (ArtifactCache::open(&cache())?, Budget::new(1 << 30));
    let load = |name: &str| Kernel::load(&engine, &cache, &kernels().join(name), &budget, 4);
    let (python, javascript) = (load("python")?, load("javascript")?);
    let quick = |count| bench.times(count);
    let works = [
        (
            Finding::new("inside", "the same inside the worker, no HTTP", Unit::Ms)
                .target("p50 at most 0.015 x native `python3 -I -S -c`"),
            (python, Language::Python, "print('hello')"),
            (bench.peers.python.clone(), vec!["-I", "-S", "-c", "print('hello')"], Some(0.015)),
            (quick(150), 40),
        ),
        (
            Finding::new("inside", "fresh JavaScript, `console.log('hello')`, inside the worker", Unit::Ms),
            (javascript, Language::JavaScript, "console.log('hello')"),
            (bench.peers.node.clone(), vec!["-e", "console.log('hello')"], None),
            (quick(40), 40),
        ),
    ];
    let folder = scratch()?;
    let mut findings = Vec::new();
    for (mut finding, (kernel, language, code), (native, args, bound), (blocks, each)) in works {
        let cleaning;
        let Some(native) = native else {
            let (ours, clean) = on_thread(Arc::new(kernel), language, code, vec![Box::new(|| Ok(0.0)); 1], blocks * each)?;
            findings.push(finding.ours(&ours.ours).add(&after(&clean)).add("The peer is missing here."));
            continue;
        };
        let peer: Peer<'_> = Box::new(|| native.time(&args, folder.path(), "hello"));
        let paired;
        (paired, cleaning) = thread_scope(&kernel, language, code, peer, blocks, each)?;
        finding = finding.paired("native", &paired).add(&after(&cleaning));
        if let Some(bound) = bound {
            finding = finding.at_most("p50", Unit::Times, paired.ratio(), bound);
        }
        findings.push(finding);
    }
    Ok(findings)
}
