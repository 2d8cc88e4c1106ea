//! The worker's path without HTTP: from a run request to its outcome, in this process, with the worker's code.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use cofferdam_contract::{Language, Limits, OrganizationId, RunId, RunRequest, Status};
use cofferdam_host_api::{Budget, Interrupt};
use cofferdam_runtime::artifact::ArtifactCache;
use cofferdam_runtime::engine::{GUEST_STACK, kernel_engine, start_ticker};
use cofferdam_runtime::fresh::{self, RunFiles};
use cofferdam_runtime::kernel::Kernel;
use cofferdam_runtime::turn::Job;

use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::peers::Native;
use crate::service::{cache, kernels, scratch};
use crate::stats::{Paired, Samples};

struct Work<'a> {
    kernel: Kernel,
    language: Language,
    code: &'a str,
    peer: Option<Native>,
    args: &'a [&'a str],
    blocks: usize,
}

/// Runs of ours per run of the peer's.
const RUNS_PER_PEER_RUN: usize = 40;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    // The service's start has created the compiled code and the images that are loaded here.
    bench.service()?;
    let engine = kernel_engine().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    start_ticker(&engine, || ())?;
    let (cache, budget) = (ArtifactCache::open(&cache())?, Budget::new(1 << 30));
    let load = |name: &str| Kernel::load(&engine, &cache, &kernels().join(name), &budget, 4);
    let python = Work {
        kernel: load("python")?,
        language: Language::Python,
        code: "print('hello')",
        peer: bench.peers.python.clone(),
        args: &["-I", "-S", "-c"],
        blocks: bench.times(150),
    };
    let javascript = Work {
        kernel: load("javascript")?,
        language: Language::JavaScript,
        code: "console.log('hello')",
        peer: bench.peers.node.clone(),
        args: &["-e"],
        blocks: bench.times(40),
    };
    let of_python = Finding::new("inside", "the same inside the worker, no HTTP", Unit::Ms)
        .target("p50 at most 0.015 x native `python3 -I -S -c`");
    let of_javascript = Finding::new("inside", "fresh JavaScript inside the worker, no HTTP", Unit::Ms);
    Ok(vec![python.found(of_python, Some(0.015))?, javascript.found(of_javascript, None)?])
}

impl Work<'_> {
    fn found(&self, finding: Finding, bound: Option<f64>) -> anyhow::Result<Finding> {
        // A guest's stack, and what the host needs below it, as in the worker.
        let stack = GUEST_STACK + (8 << 20);
        let measured = thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(stack).spawn_scoped(scope, || self.take_turns())?;
            thread.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
        });
        let (paired, cleaning) = measured?;
        let finding = match (&self.peer, bound) {
            (None, _) => return Ok(finding.ours(&paired.ours).add("The peer is missing here.")),
            (Some(_), None) => finding.paired("native", &paired),
            (Some(_), Some(most)) => {
                finding.paired("native", &paired).at_most("p50", Unit::Times, paired.ratio(), most)
            }
        };
        Ok(finding.add(&format!("Cleaning the slot afterwards, off the caller's path: p50 {:.3} ms.", cleaning.p50())))
    }

    fn take_turns(&self) -> anyhow::Result<(Paired, Samples)> {
        let files = RunFiles::new(8, Duration::from_secs(60));
        let folder = scratch()?;
        let mut args = self.args.to_vec();
        args.push(self.code);
        let (mut paired, mut cleaning) = (Paired::default(), Samples::default());
        for block in 0..self.blocks + 2 {
            let native = match &self.peer {
                Some(native) => native.time(&args, folder.path(), "hello")?,
                None => 0.0,
            };
            let mut ours = Samples::default();
            for _ in 0..RUNS_PER_PEER_RUN {
                let (ms, clean) = self.once(&files)?;
                ours.push(ms);
                cleaning.push(clean);
            }
            // The first two warm up.
            if block >= 2 {
                paired.block(&ours, native);
            }
        }
        Ok((paired, cleaning))
    }

    /// One run: milliseconds until its outcome, and for the cleanup afterwards.
    fn once(&self, files: &RunFiles) -> anyhow::Result<(f64, f64)> {
        let organization = OrganizationId::default_organization();
        let limits = Limits::DEFAULT;
        let job = Job {
            id: RunId::from_random(1),
            request: RunRequest::new(self.language, self.code),
            language: self.language,
            limits,
            open_files: 256,
            interrupt: Interrupt::new(Instant::now().checked_add(Duration::from_millis(limits.wall_ms))),
            session: None,
            gateway: None,
            listener: None,
        };
        let started = Instant::now();
        let (finished, used) = fresh::run(&self.kernel, &organization, job, files).context("a run")?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let outcome = finished.outcome;
        anyhow::ensure!(
            outcome.status == Status::Ok && outcome.stdout == "hello\n",
            "a run did not end well: {outcome:?}"
        );
        let cleaning = Instant::now();
        used.clean(&self.kernel, &organization);
        Ok((ms, cleaning.elapsed().as_secs_f64() * 1e3))
    }
}
