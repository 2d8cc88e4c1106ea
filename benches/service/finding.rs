//! A row's result: our figures, the peer's, the target, and the verdict. Every figure is measured.

use crate::causes;
use crate::stats::{Paired, Samples};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Ms,
    PerSecond,
    Mib,
    Kib,
    Times,
    Count,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        let digits = match value.abs() {
            v if v >= 100.0 || v == 0.0 || self == Self::Count => 0,
            v if v >= 10.0 => 1,
            v if v >= 1.0 => 2,
            _ => 3,
        };
        match self {
            Self::Ms => format!("{value:.digits$} ms"),
            Self::PerSecond => format!("{value:.digits$}/s"),
            Self::Mib => format!("{value:.digits$} MiB"),
            Self::Kib => format!("{value:.digits$} KiB"),
            Self::Times => format!("{value:.digits$} x"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// A bound of the target: a figure's name, its value, and the limit.
#[derive(Debug, Clone)]
struct Check {
    reached: bool,
    text: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub row: &'static str,
    pub work: String,
    pub target: String,
    pub unit: Unit,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub peer: Option<(String, f64)>,
    pub ratio: Option<f64>,
    pub detail: String,
    pub failure: Option<String>,
    /// Shown in the chart beside its peer.
    pub charted: bool,
    checks: Vec<Check>,
}

impl Finding {
    pub(crate) fn new(row: &'static str, work: impl Into<String>, unit: Unit) -> Self {
        Self {
            row,
            work: work.into(),
            target: "none set".to_owned(),
            unit,
            p50: None,
            p99: None,
            peer: None,
            ratio: None,
            detail: String::new(),
            failure: None,
            charted: false,
            checks: Vec::new(),
        }
    }

    pub(crate) fn failed(row: &'static str, work: &str, why: &str) -> Self {
        Self { failure: Some(why.to_owned()), ..Self::new(row, work, Unit::Ms) }
    }

    pub(crate) fn target(mut self, text: &str) -> Self {
        text.clone_into(&mut self.target);
        self
    }

    pub(crate) fn ours(mut self, samples: &Samples) -> Self {
        (self.p50, self.p99) = (Some(samples.p50()), Some(samples.p99()));
        self
    }

    pub(crate) fn figure(mut self, value: f64) -> Self {
        self.p50 = Some(value);
        self
    }

    /// Our figure and the peer's from a pairwise measurement; also shown in the chart.
    pub(crate) fn paired(mut self, name: &str, paired: &Paired) -> Self {
        self = self.ours(&paired.ours).beside(name, paired.peer.p50());
        self.ratio = Some(paired.ratio());
        self.charted = true;
        self.add(&format!("{} of ours, {} of the peer.", paired.ours.len(), paired.peer.len()))
    }

    pub(crate) fn beside(mut self, name: &str, value: f64) -> Self {
        self.peer = Some((name.to_owned(), value));
        self.ratio = self.p50.filter(|_| value > 0.0).map(|ours| ours / value);
        self
    }

    pub(crate) fn charted(mut self) -> Self {
        self.charted = true;
        self
    }

    pub(crate) fn add(mut self, sentence: &str) -> Self {
        if !self.detail.is_empty() {
            self.detail.push(' ');
        }
        self.detail.push_str(sentence);
        self
    }

    pub(crate) fn at_most(mut self, name: &str, unit: Unit, value: f64, bound: f64) -> Self {
        let text = format!("{name} {} where at most {} is wanted", unit.show(value), unit.show(bound));
        self.checks.push(Check { reached: value <= bound, text });
        self
    }

    pub(crate) fn at_least(mut self, name: &str, unit: Unit, value: f64, bound: f64) -> Self {
        let text = format!("{name} {} where at least {} is wanted", unit.show(value), unit.show(bound));
        self.checks.push(Check { reached: value >= bound, text });
        self
    }

    /// `None` if there is no target, or no figure to compare with it.
    pub(crate) fn reached(&self) -> Option<bool> {
        (!self.checks.is_empty()).then(|| self.checks.iter().all(|check| check.reached))
    }

    /// The missed bounds in figures, and the known cause.
    pub(crate) fn missed(&self) -> Option<String> {
        let missed: Vec<&str> = self.checks.iter().filter(|check| !check.reached).map(|c| c.text.as_str()).collect();
        (!missed.is_empty()).then(|| format!("{}. {}", missed.join("; "), causes::of(self.row)))
    }

    /// One line for the terminal.
    pub(crate) fn line(&self) -> String {
        let show = |value: Option<f64>| value.map_or("-".to_owned(), |value| self.unit.show(value));
        let peer = self.peer.as_ref().map(|(name, value)| format!(", {name} {}", self.unit.show(*value)));
        let ratio = self.ratio.map(|ratio| format!(", ratio {ratio:.4}"));
        let reached = match self.reached() {
            Some(true) => ": reached",
            Some(false) => ": NOT reached",
            None => "",
        };
        format!(
            "{}: p50 {}, p99 {}{}{}{reached}",
            self.work,
            show(self.p50),
            show(self.p99),
            peer.unwrap_or_default(),
            ratio.unwrap_or_default()
        )
    }
}
