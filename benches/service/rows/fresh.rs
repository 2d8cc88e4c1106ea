//! A fresh sandbox for each run, over HTTP on loopback, one client; compared with a new native process for each.

use std::path::Path;

use serde_json::Value;

use crate::bench::{Bench, run, run_body, run_printing};
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::peers::Native;
use crate::service::scratch;
use crate::stats::{Paired, Samples};

const PRINT: &str = "print('hello')";
const LOG: &str = "console.log('hello')";
pub(super) const PANDAS: &str = include_str!("../code/pandas.py");
const PLOT: &str = include_str!("../code/plot.py");

/// Blocks of `each` runs of ours and one of the peer's. Without a peer there are no ratios.
fn take_turns(
    blocks: usize,
    each: usize,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut peer: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Paired> {
    // The first start reads from disk.
    for _ in 0..3 {
        ours()?;
        peer()?;
    }
    let mut paired = Paired::default();
    for _ in 0..blocks {
        let native = peer()?;
        let block = (0..each).map(|_| ours()).collect::<anyhow::Result<Samples>>()?;
        paired.block(&block, native);
    }
    Ok(paired)
}

struct Work<'a> {
    finding: Finding,
    language: &'a str,
    code: &'a str,
    args: &'a [&'a str],
    printed: &'a str,
    blocks: usize,
    each: usize,
}

impl Work<'_> {
    fn measure(&self, client: &mut Client, native: &Native) -> anyhow::Result<Paired> {
        let (body, folder) = (run_body(self.language, self.code), scratch()?);
        let mut args = self.args.to_vec();
        args.push(self.code);
        take_turns(
            self.blocks,
            self.each,
            || run_printing(client, &body, self.printed),
            || native.time(&args, folder.path(), self.printed),
        )
    }

    /// Ours alone.
    fn alone(self, client: &mut Client) -> anyhow::Result<Finding> {
        let body = run_body(self.language, self.code);
        let count = self.blocks * self.each;
        let ours =
            (0..count).map(|_| run_printing(client, &body, self.printed)).collect::<anyhow::Result<Samples>>()?;
        Ok(self.finding.ours(&ours).add("The peer is missing here."))
    }
}

pub(super) fn python(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let finding = Finding::new("python", format!("fresh Python, `{PRINT}`, over HTTP, one client"), Unit::Ms)
        .target("p50 at most 0.06 x native `python3 -I -S -c`, p99 at most 0.3 x");
    let (blocks, each) = (bench.times(150), 20);
    let native = bench.peers.python.clone();
    let mut client = bench.service()?.client();
    let work =
        Work { finding, language: "python", code: PRINT, args: &["-I", "-S", "-c"], printed: "hello", blocks, each };
    let Some(native) = native else { return Ok(vec![work.alone(&mut client)?]) };
    let paired = work.measure(&mut client, &native)?;
    let tail = paired.ours.p99() / paired.peer.p50();
    let finding = work.finding.paired("native", &paired).at_most("p50", Unit::Times, paired.ratio(), 0.06);
    let finding = finding.at_most("p99", Unit::Times, tail, 0.3).add(&format!("p99 is {tail:.3} x the peer's p50."));
    Ok(vec![finding])
}

pub(super) fn javascript(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let finding = Finding::new("javascript", format!("fresh JavaScript, `{LOG}`, over HTTP, one client"), Unit::Ms)
        .target("p50 at most 0.008 x `node -e`");
    let (blocks, each) = (bench.times(80), 20);
    let native = bench.peers.node.clone();
    let mut client = bench.service()?.client();
    let work = Work { finding, language: "javascript", code: LOG, args: &["-e"], printed: "hello", blocks, each };
    let Some(native) = native else { return Ok(vec![work.alone(&mut client)?]) };
    let paired = work.measure(&mut client, &native)?;
    let finding = work.finding.paired("node", &paired).at_most("p50", Unit::Times, paired.ratio(), 0.008);
    Ok(vec![finding])
}

pub(super) fn pandas(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let finding =
        Finding::new("pandas", "fresh Python, `import pandas`, a DataFrame made and summed, over HTTP", Unit::Ms)
            .target("p50 at most 0.01 x native `python3 -c` of the same code");
    let (blocks, each) = (bench.times(15), 30);
    let native = bench.peers.libraries.clone();
    let mut client = bench.service()?.client();
    let versions = libraries(&mut client)?;
    let work = Work { finding, language: "python", code: PANDAS, args: &["-c"], printed: "499500", blocks, each };
    let Some(native) = native else { return Ok(vec![work.alone(&mut client)?]) };
    let paired = work.measure(&mut client, &native)?;
    let finding = work.finding.paired("native", &paired).at_most("p50", Unit::Times, paired.ratio(), 0.01);
    Ok(vec![finding.add(&format!("The sandbox has {versions}."))])
}

/// The versions in the sandbox, for comparison.
fn libraries(client: &mut Client) -> anyhow::Result<String> {
    let code = "import sys, numpy, pandas, matplotlib\n\
                print('Python', sys.version.split()[0] + ', numpy', numpy.__version__ + ', pandas', \
                pandas.__version__ + ', matplotlib', matplotlib.__version__)";
    let (outcome, _) = run(client, &run_body("python", code))?;
    Ok(outcome.get("stdout").and_then(Value::as_str).unwrap_or_default().trim().to_owned())
}

pub(super) fn plot(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let finding = Finding::new("plot", "fresh Python, a matplotlib line plot as PNG, over HTTP", Unit::Ms)
        .target("p50 at most 0.12 x native `python3 -c` of the same code");
    let (blocks, each) = (bench.times(12), 6);
    let native = bench.peers.libraries.clone();
    let mut client = bench.service()?.client();
    let body = run_body("python", PLOT);
    let folder = scratch()?;
    let Some(native) = native else {
        let ours = (0..blocks * each).map(|_| plotted(&mut client, &body)).collect::<anyhow::Result<Samples>>()?;
        return Ok(vec![finding.ours(&ours).add("The peer is missing here.")]);
    };
    let drawn = |folder: &Path| -> anyhow::Result<f64> {
        let ms = native.time(&["-c", PLOT], folder, "plotted")?;
        is_png(&std::fs::read(folder.join("plot.png"))?)?;
        Ok(ms)
    };
    let paired = take_turns(blocks, each, || plotted(&mut client, &body), || drawn(folder.path()))?;
    Ok(vec![finding.paired("native", &paired).at_most("p50", Unit::Times, paired.ratio(), 0.12)])
}

fn is_png(bytes: &[u8]) -> anyhow::Result<()> {
    anyhow::ensure!(bytes.starts_with(b"\x89PNG") && bytes.len() > 4_000, "{} bytes that are no plot", bytes.len());
    Ok(())
}

/// The time until the answer has arrived, including the file.
fn plotted(client: &mut Client, body: &[u8]) -> anyhow::Result<f64> {
    let (outcome, ms) = run(client, body)?;
    let content = outcome.pointer("/files/0/content_base64").and_then(Value::as_str).unwrap_or_default();
    // A PNG of more than 4,000 bytes, still in base64.
    anyhow::ensure!(content.starts_with("iVBORw0KGgo") && content.len() > 5_400, "no plot came back: {outcome}");
    Ok(ms)
}
