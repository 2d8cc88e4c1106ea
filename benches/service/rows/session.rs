//! A further run in a session, compared with `/health` on the same connection: the cost of a run beyond HTTP.

use crate::bench::{Bench, run_printing, session, session_body};
use crate::finding::{Finding, Unit};
use crate::stats::{Paired, Samples};

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let blocks = bench.times(200);
    let mut client = bench.service()?.client();
    let mut findings = Vec::new();
    for (language, set, further) in [
        ("python", "n = 20", "n += 1\nprint(n > 20)"),
        ("javascript", "var n = 20", "n += 1; console.log(n > 20 ? 'True' : 'False')"),
    ] {
        let id = session(&mut client, language)?;
        run_printing(&mut client, &session_body(&id, set), "")?;
        let body = session_body(&id, further);
        let mut paired = Paired::default();
        let mut beyond = Samples::default();
        for _ in 0..blocks {
            let (mut runs, mut health) = (Samples::default(), Samples::default());
            for _ in 0..10 {
                health.push(client.call("GET", "/health", &[])?.ms);
                runs.push(run_printing(&mut client, &body, "True")?);
            }
            beyond.push(runs.p50() - health.p50());
            paired.block(&runs, health.p50());
        }
        let more = beyond.p50();
        client.call("DELETE", &format!("/v1/sessions/{id}"), &[])?;
        let finding = Finding::new("session", format!("a further run in a {language} session, over HTTP"), Unit::Ms)
            .target("p50 at most 0.3 ms more than `/health`")
            .paired("`/health`", &paired)
            .at_most("beyond `/health`", Unit::Ms, more, 0.3)
            .add(&format!("The median run takes {more:.3} ms more than `/health`."));
        findings.push(finding);
    }
    Ok(findings)
}
