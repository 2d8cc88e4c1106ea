//! `make bench`: measures the release service against what people run today, and writes `docs/benchmarks.md` and its
//! chart. Ours and its peer take turns within each row, so that a busy machine slows both; it asserts nothing.

mod archive;
mod bench;
mod causes;
mod chart;
mod client;
mod cluster;
mod counter;
mod finding;
mod litellm;
mod load;
mod machine;
mod peers;
mod postgres;
mod process;
mod pusher;
mod report;
mod rows;
mod service;
mod stats;
mod tools;
mod upstream;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;

use bench::Bench;
use finding::Finding;
use stats::Samples;

/// Measures `cofferdam serve` against native peers. Without --row and --quick the results go to docs/benchmarks.md.
#[derive(Parser)]
struct Options {
    /// Run only the rows whose name contains this; repeatable
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// Take few samples: a smoke test, not a measurement
    #[arg(long)]
    quick: bool,
    /// List the rows
    #[arg(long)]
    list: bool,
    /// Ignored: cargo passes it to every bench
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the upstream of the rows about models
    #[arg(long, hide = true)]
    upstream: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match if options.upstream { upstream::serve() } else { measure(&options) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let wanted = |name: &str| options.row.is_empty() || options.row.iter().any(|part| name.contains(part.as_str()));
    let chosen: Vec<_> = rows::ALL.iter().filter(|row| wanted(row.name)).collect();
    if options.list {
        chosen.iter().for_each(|row| println!("{:<12} {}", row.name, row.about));
        return Ok(());
    }
    let started = Instant::now();
    let mut bench = Bench::new(options.quick)?;
    let mut machine = machine::facts(&bench.peers);
    let (mut findings, mut busy): (Vec<Finding>, _) = (Vec::new(), Samples::default());
    for row in &chosen {
        let others = machine::busy() * 100.0;
        busy.push(others);
        if others > 25.0 {
            eprintln!("         others take {others:.0}% of the processors: ratios that count rates will be off");
        }
        eprintln!("[{:>4.0} s] {}: {}", started.elapsed().as_secs_f64(), row.name, row.about);
        match (row.run)(&mut bench).with_context(|| format!("row {}", row.name)) {
            Ok(found) => {
                for finding in &found {
                    eprintln!("         {}", finding.line());
                    finding.missed().iter().for_each(|missed| eprintln!("         {missed}"));
                    // Rows that are asked for one by one tell all that they know.
                    if !options.row.is_empty() {
                        eprintln!("         {}", finding.detail);
                    }
                }
                findings.extend(found);
            }
            Err(error) => {
                eprintln!("         FAILED: {error:#}");
                findings.push(Finding::failed(row.name, row.about, &format!("{error:#}")));
            }
        }
    }
    drop(bench);
    let took = started.elapsed();
    let load = format!("p50 {:.0}% of the processors, at most {:.0}%", busy.p50(), busy.quantile(1.0));
    machine.push(("Other work, just before each row", load));
    if options.row.is_empty() && !options.quick {
        let docs = bench::root().join("docs");
        std::fs::create_dir_all(&docs).context("the docs folder")?;
        std::fs::write(docs.join("benchmarks.md"), report::markdown(&machine, &findings, took, busy.p50() / 100.0))?;
        std::fs::write(docs.join("benchmarks.svg"), chart::svg(&findings))?;
        eprintln!("[{:>4.0} s] written: docs/benchmarks.md, docs/benchmarks.svg", took.as_secs_f64());
    } else {
        println!("{}", report::table(&findings));
        eprintln!("[{:>4.0} s] a part only: docs/benchmarks.md is as it was", took.as_secs_f64());
    }
    match findings.iter().filter(|finding| finding.failure.is_some()).count() {
        0 => Ok(()),
        failed => anyhow::bail!("{failed} rows could not be measured"),
    }
}
