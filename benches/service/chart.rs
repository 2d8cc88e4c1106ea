//! `docs/benchmarks.svg`: ours and the peers' times as bars on a logarithmic scale, readable on light and dark. Pure.

use std::fmt::Write;

use crate::finding::{Finding, Unit};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 64.0;
const BAR: f64 = 13.0;
const GROUP: f64 = 42.0;

/// Text and lines follow the reader's colour scheme.
const STYLE: &str = "<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.faint { fill: #59636e; }
.grid { stroke: #d1d9e0; }
.ours { fill: #0969da; }
.peer { fill: #9a6700; fill-opacity: 0.65; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .faint { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .ours { fill: #4493f8; }
  .peer { fill: #d29922; }
}
</style>
";

struct Pair<'a> {
    work: &'a str,
    name: &'a str,
    ours: f64,
    peer: f64,
}

fn pair(finding: &Finding) -> Option<Pair<'_>> {
    let (name, peer) = finding.peer.as_ref().filter(|_| finding.charted && finding.unit == Unit::Ms)?;
    let ours = finding.p50.filter(|ours| *ours > 0.0 && *peer > 0.0)?;
    Some(Pair { work: &finding.work, name, ours, peer: *peer })
}

pub(crate) fn svg(findings: &[Finding]) -> String {
    let pairs: Vec<Pair<'_>> = findings.iter().filter_map(pair).collect();
    let values = || pairs.iter().flat_map(|pair| [pair.ours, pair.peer]);
    let low = values().fold(1.0, f64::min).log10().floor();
    let high = values().fold(1.0, f64::max).log10().ceil().max(low + 1.0);
    let scale = (WIDTH - LEFT - RIGHT) / (high - low);
    let at = |ms: f64| LEFT + (ms.log10() - low) * scale;
    let height = TOP + GROUP * pairs.len() as f64 + 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Median times of Cofferdam and of its peers, logarithmic\">\n{STYLE}"
    );
    let _ = writeln!(
        out,
        "<text class=\"title\" x=\"12\" y=\"24\">Median time, Cofferdam and its peer in the same run</text>"
    );
    legend(&mut out);
    let mut power = low;
    while power <= high + 0.5 {
        let (x, bottom) = (at(10_f64.powf(power)), height - 32.0);
        let _ = writeln!(out, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>");
        let y = height - 14.0;
        let _ = writeln!(
            out,
            "<text class=\"faint\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
            tick(power)
        );
        power += 1.0;
    }
    for (number, pair) in pairs.iter().enumerate() {
        let y = TOP + GROUP * number as f64 + 6.0;
        let label = |out: &mut String, class: &str, text: &str, y: f64| {
            let (x, text) = (LEFT - 8.0, escape(text));
            let _ = writeln!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>");
        };
        label(&mut out, "", pair.work, y + 11.0);
        label(&mut out, "faint", pair.name, y + 11.0 + BAR + 2.0);
        for (class, value, y) in [("ours", pair.ours, y), ("peer", pair.peer, y + BAR + 2.0)] {
            let width = (at(value) - LEFT).max(1.0);
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>"
            );
            let (x, y) = (LEFT + width + 5.0, y + 11.0);
            let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", Unit::Ms.show(value));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String) {
    for (class, x, text) in [("ours", LEFT, "Cofferdam"), ("peer", LEFT + 110.0, "peer")] {
        let _ = writeln!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"38\" width=\"12\" height=\"12\" rx=\"2\"/>");
        let _ = writeln!(out, "<text class=\"faint\" x=\"{}\" y=\"48\">{text}</text>", x + 18.0);
    }
}

fn tick(power: f64) -> String {
    match power {
        p if p < 0.0 => format!("{:.0} \u{b5}s", 10_f64.powf(p + 3.0)),
        p if p < 3.0 => format!("{:.0} ms", 10_f64.powf(p)),
        p => format!("{:.0} s", 10_f64.powf(p - 3.0)),
    }
}

fn escape(text: &str) -> String {
    // The width of the labels left of the bars.
    const MAX_LABEL: usize = 46;
    let mut short: String = text.chars().filter(|c| *c != '`').take(MAX_LABEL).collect();
    if short.len() < text.replace('`', "").len() {
        short.pop();
        short.push('\u{2026}');
    }
    short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
