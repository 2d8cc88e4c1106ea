//! CPU: the same small programs in a sandbox and in native CPython, each timed by its own clock, in turns.

use serde_json::Value;

use crate::bench::{Bench, run, run_body};
use crate::finding::{Finding, Unit};
use crate::stats::{Samples, geometric_mean};

macro_rules! programs {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../code/cpu/", $name, ".py")))),*]
    };
}

/// Each defines `main()`, whose result shows that it did its work.
const PROGRAMS: [(&str, &str); 10] = programs![
    "fib",
    "nbody",
    "spectral_norm",
    "text_join",
    "dict_ops",
    "list_sort",
    "json_round",
    "regex",
    "comprehension",
    "method_calls",
];

/// Prints the fastest of three times in milliseconds, and the result.
const HARNESS: &str = "
import time as _time
_times = []
for _ in range(3):
    _started = _time.perf_counter()
    _answer = main()
    _times.append(_time.perf_counter() - _started)
print(min(_times) * 1000, _answer)
";

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let rounds = bench.times(5);
    let Some(native) = bench.peers.python.clone() else {
        return Ok(vec![Finding::new("cpu", "CPU, geometric mean", Unit::Times).add("The peer is missing here.")]);
    };
    let mut client = bench.service()?.client();
    let (mut ratios, mut each) = (Vec::new(), Vec::new());
    for (name, program) in PROGRAMS {
        let text = format!("{program}{HARNESS}");
        let body = run_body("python", &text);
        let [mut ours, mut natives] = [Samples::default(), Samples::default()];
        for _ in 0..rounds {
            let (expected, ms) = read(&native.say(&["-I", "-S", "-c", &text])?)?;
            natives.push(ms);
            let (outcome, _) = run(&mut client, &body)?;
            let (answer, ms) = read(outcome.get("stdout").and_then(Value::as_str).unwrap_or_default())?;
            anyhow::ensure!(answer == expected, "{name} answers {answer}, natively {expected}");
            ours.push(ms);
        }
        // The fastest round is the cost of the code; everything above it comes from other load.
        let ratio = ours.least() / natives.least();
        eprintln!("         {name}: {:.1} ms, native {:.1} ms: {ratio:.2} x", ours.least(), natives.least());
        ratios.push(ratio);
        each.push(format!("{} {ratio:.2}", name.replace('_', " ")));
    }
    let mean = geometric_mean(&ratios);
    let finding = Finding::new("cpu", format!("CPU, geometric mean of {} micro-benchmarks", ratios.len()), Unit::Times)
        .target("at most 2.5 x native CPython")
        .figure(mean)
        .at_most("geometric mean", Unit::Times, mean, 2.5)
        .add(&format!("One by one: {}.", each.join(", ")));
    let mut finding = finding.beside("native", 1.0);
    finding.ratio = Some(mean);
    Ok(vec![finding])
}

fn read(printed: &str) -> anyhow::Result<(String, f64)> {
    let (ms, answer) = printed.trim().split_once(' ').ok_or_else(|| anyhow::anyhow!("printed {printed:?}"))?;
    Ok((answer.to_owned(), ms.parse()?))
}
