//! From the first byte of a deployment until the new tool's first answer. Every component is new.

use std::fmt::Write;

use serde_json::json;

use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::stats::Samples;
use crate::tools::deploy;

const SIZE: usize = 1_000_000;
/// The data in it, in bytes: tables and texts, as in compilers' output.
const DATA: usize = 250_000;
/// The size of one [`function`], in bytes.
const FUNCTION_BYTES: usize = 347;
const MAX_MS: f64 = 1_000.0;

/// A function like those of compilers: a loop over arithmetic, memory and branches, then a call of the next one.
fn function(out: &mut String, number: usize, salt: usize) {
    let _ = writeln!(
        out,
        "(func $f{number} (param $n i32) (result i32) (local $a i32) (local $b i64) (local $c f64)\n(loop $again"
    );
    for part in 0..4_usize {
        let seed = (number * 31 + part * 7 + salt * 1_009) % 60_000 + 300;
        let _ = writeln!(
            out,
            "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const {seed})) (i32.xor (local.get $n) (i32.const {}))))
             (if (i32.lt_u (local.get $a) (i32.const {}))
               (then (local.set $a (i32.rotl (local.get $a) (i32.load offset={} (i32.and (local.get $a) (i32.const 4092))))))
               (else (i32.store offset={} (i32.and (local.get $a) (i32.const 4092)) (local.get $n))))
             (local.set $b (i64.add (i64.mul (local.get $b) (i64.const {seed})) (i64.extend_i32_u (local.get $a))))
             (local.set $c (f64.add (local.get $c) (f64.convert_i32_s (local.get $a))))",
            seed + 77,
            seed * 1_999,
            seed % 4_096,
            (seed + 64) % 4_096,
        );
    }
    out.push_str("(br_if $again (local.tee $n (i32.shr_u (local.get $n) (i32.const 1)))))\n");
    if number % 8 != 7 {
        let _ = writeln!(
            out,
            "(if (i64.lt_s (local.get $b) (i64.const 0)) (then (local.set $a (call $f{} (local.get $a)))))",
            number + 1
        );
    }
    out.push_str("(i32.add (local.get $a) (i32.trunc_sat_f64_s (local.get $c))))\n");
}

/// A component of [`SIZE`]; `salt` makes it unique.
fn component(salt: usize) -> anyhow::Result<Vec<u8>> {
    let functions = ((SIZE - DATA) / FUNCTION_BYTES).next_multiple_of(8);
    let mut text = String::from("(component (core module $m (memory 8)\n");
    (0..functions).for_each(|number| function(&mut text, number, salt));
    text.push_str(
        "(func (export \"work\") (param i32) (result i32) (call $f0 (local.get 0)))\n(data (i32.const 16384) \"",
    );
    (0..DATA / 10).for_each(|line| {
        let _ = write!(text, "{:010}", line * 7_919 + salt);
    });
    text.push_str(
        "\"))\n(core instance $i (instantiate $m))
         (func (export \"work\") (param \"n\" u32) (result u32) (canon lift (core func $i \"work\"))))",
    );
    Ok(wat::parse_str(text)?)
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let count = bench.times(20);
    let mut client = bench.service()?.client();
    // Unique to this run: a component that another run left in the cache would not be compiled.
    let run = usize::try_from(std::process::id())? * 100;
    let (mut all, mut deploying, mut first, mut size) = (Samples::default(), Samples::default(), Samples::default(), 0);
    for number in 0..count {
        let component = component(run + number)?;
        size = component.len();
        anyhow::ensure!(size >= SIZE, "the component has only {size} bytes");
        let deployed = deploy(&mut client, "megabyte", &component, &json!({}))?;
        let answer = client.post("/v1/tools/megabyte/functions/work", br#"{"n":7}"#)?;
        let outcome = answer.json()?;
        anyhow::ensure!(outcome.get("status") == Some(&json!("ok")), "the first call: {outcome}");
        deploying.push(deployed);
        first.push(answer.ms);
        all.push(deployed + answer.ms);
    }
    client.call("DELETE", "/v1/tools/megabyte", &[])?;
    let finding = Finding::new("deploy", "deployment of a 1 MB component until its first answer", Unit::Ms)
        .target("p50 under 1 s")
        .ours(&all)
        .at_most("p50", Unit::Ms, all.p50(), MAX_MS)
        .add(&format!(
            "{count} components of {size} bytes, three quarters of it code, each of them new: p50 {:.0} ms to deploy it \
             (checking, compiling, a trial instance, the store), {:.2} ms for the first call.",
            deploying.p50(),
            first.p50()
        ));
    Ok(vec![finding])
}
