//! Writes `docs/benchmarks.md` from the results. Pure.

use std::fmt::Write;
use std::time::Duration;

use crate::finding::{Finding, Unit};

const INTRO: &str = "\
# Benchmarks

Written by `make bench`; do not edit. Ours is the release `cofferdam serve` as it starts by default, on loopback, asked \
by a client with one kept connection. Every figure stands beside its peer from the same run: the two took turns, so \
that other work on the machine slowed both. **Trust the ratios; absolute times drift with the machine.** A ratio is \
ours / peer: for times and memory less is better, for rates more. Where ours and the peer took turns in blocks it is \
the median of the blocks' ratios.

![Times of ours and of the peers on a logarithmic scale](benchmarks.svg)
";

/// Above this, times are not to be trusted.
const MAX_BUSY_SHARE: f64 = 0.25;

const OUTRO: &str = "\
## What is measured, and what is not

* Over HTTP: from before the first byte of the request is written until the last byte of the answer is read, with the \
key checked, a run id made, the run sent to the worker process and its outcome sent back. Connecting is excluded, because the \
connection is kept; so is TLS.
* Inside the worker: from the request to the outcome, by the worker's own code in the measuring process, without HTTP \
and JSON of the answer. Cleaning the slot comes after the answer and is given beside it; it is in the throughput rows.
* Other work on the machine slows both sides of a pair, but where sixteen clients and a service stand against two \
loops it takes more from the two loops: the throughput ratios are right only where the machine was otherwise idle \
(see *Other work* below).
* Native peers: a process is started, its output read, its end waited for. It is the interpreter itself, never a \
version manager's script around it. It has no sandbox, so this is the least that a service of processes would cost; \
one that also isolates them costs more.
* A tool's call: arguments checked against its types, a fresh instance, the result as JSON. The tools are those of \
`examples/tools` as `make examples` builds them. *More than `/health`* is the median of the blocks' differences, on \
kept connections that take turns.
* Through the gateway: a tool that is granted one server on loopback, which the operator's policy of that service allows; \
the gateway checks, resolves and dials as for any other. All other rows have no policy.
* Models: the upstream is a process of its own that answers at once with fixed bytes (a stream: its events one by one, each \
in a write of its own). The service gets it from `OPENAI_BASE_URL` and `ANTHROPIC_BASE_URL`; every call has its key checked, is \
held and settled in two budgets and leaves a record. *Direct* is the same request by the same client to the upstream, in turns, \
so the difference is what the gateway adds. The generator of load is one thread over kept HTTP/1.1 connections in the measuring process; \
it, the upstream and what is measured share the cores, and the rows say what generator and upstream do alone.
* LiteLLM is the proxy of PyPI, pinned, behind the same generator and before the same upstream, with its production settings, one \
Uvicorn worker a core and its own key. It has no database, without which it keeps no budgets and no records. Its Python is \
the native one above, which sets its speed; its optional Granian server was about a quarter faster when tried.
* p50 and p99 are our figures; the peer's figure is its p50. `-` means not measured.
* The interpreters differ in version (see above), so the CPU row compares engines and versions at once; each program's \
answer is compared, too. It takes the least time of all rounds on either side.
* Memory is `Private_Dirty` of `smaps_rollup`: pages that belong to the process alone and are in no file.
* The first start compiles the kernels, once for each version of them; that is not in any figure.

## How to repeat

```
make bench                                              # all of it, half an hour on two cores
cargo bench --workspace --bench service -- --list       # the rows' names
cargo bench --workspace --bench service -- --row pandas # one row, printed; this file stays
cargo bench --workspace --bench service -- --row model  # all rows about models, five to eight minutes
cargo bench --workspace --bench service -- --quick      # few samples: a smoke test, not a measurement
```

It needs the tools of `make examples`, `python3` on the path, and `node` for the JavaScript peers (a row without its peer or tool is reported as not measured). A native \
Python with pandas and matplotlib is created in `target/bench-venv`, one with LiteLLM (750 MB) in `target/bench-litellm`. \
`COFFERDAM_BENCH_PROGRAM` names another build of the program, to compare the two.
";

/// `busy`: the fraction of the processors that other processes used.
pub(crate) fn markdown(machine: &[(&str, String)], findings: &[Finding], took: Duration, busy: f64) -> String {
    let reached = |wanted| findings.iter().filter(|finding| finding.reached() == Some(wanted)).count();
    let mut out = String::from(INTRO);
    if busy > MAX_BUSY_SHARE {
        let _ = writeln!(
            out,
            "\n**This run was on a busy machine: other work took {:.0}% of the processors. Bounds in \
             milliseconds and against `/health` are missed that an idle machine keeps; rates beside two native loops come \
             out too well. Only ratios of turns taken one after the other are worth something.**",
            busy * 100.0
        );
    }
    let _ = writeln!(out, "\n{} of {} targets reached.\n", reached(true), reached(true) + reached(false));
    out.push_str(&table(findings));
    let missed: Vec<_> = findings.iter().filter_map(|finding| Some((finding, finding.missed()?))).collect();
    if !missed.is_empty() {
        out.push_str("\n## Not reached\n\n");
        for (finding, text) in missed {
            let _ = writeln!(out, "* **{}**: {text}", finding.work);
        }
    }
    let failed: Vec<_> = findings.iter().filter_map(|finding| Some((finding, finding.failure.as_ref()?))).collect();
    if !failed.is_empty() {
        out.push_str("\n## Not measured\n\n");
        for (finding, why) in failed {
            let _ = writeln!(out, "* **{}**: {why}", finding.work);
        }
    }
    out.push_str("\n## Row by row\n\n");
    for finding in findings.iter().filter(|finding| !finding.detail.is_empty()) {
        let _ = writeln!(out, "* **{}**: {}", finding.work, finding.detail);
    }
    out.push_str("\n## The machine\n\n| | |\n| --- | --- |\n");
    for (name, value) in machine {
        let _ = writeln!(out, "| {name} | {value} |");
    }
    let _ = writeln!(out, "| The whole run took | {:.0} s |\n", took.as_secs_f64());
    out.push_str(OUTRO);
    out
}

pub(crate) fn table(findings: &[Finding]) -> String {
    let mut out = String::from(
        "| work | target | ours p50 | ours p99 | peer p50 | ratio | reached |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for finding in findings {
        let show = |value: Option<f64>| value.map_or("-".to_owned(), |value| finding.unit.show(value));
        let peer = finding.peer.as_ref().filter(|_| finding.unit != Unit::Times);
        let peer = peer.map_or("-".to_owned(), |(name, value)| format!("{} ({name})", finding.unit.show(*value)));
        let reached = match (&finding.failure, finding.reached()) {
            (Some(_), _) => "not measured",
            (None, Some(true)) => "yes",
            (None, Some(false)) => "**no**",
            (None, None) => "-",
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {peer} | {} | {reached} |",
            finding.work,
            finding.target,
            show(finding.p50),
            show(finding.p99),
            finding.ratio.map_or("-".to_owned(), ratio)
        );
    }
    out
}

/// Three significant digits.
fn ratio(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v if v >= 0.1 => format!("{v:.3}"),
        v if v >= 0.01 => format!("{v:.4}"),
        v => format!("{v:.5}"),
    }
}
