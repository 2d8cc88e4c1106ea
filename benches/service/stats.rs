//! Medians, percentiles and ratios. Pure.

/// Measured values, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The quantile `q` (0 to 1) by the nearest rank; 0 without values.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0.0)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Our values and a peer's, measured in turn: in every block some of ours, then one of the peer's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paired {
    pub ours: Samples,
    pub peer: Samples,
    ratios: Samples,
}

impl Paired {
    pub(crate) fn block(&mut self, ours: &Samples, peer: f64) {
        self.ours.extend(ours);
        self.peer.push(peer);
        if peer > 0.0 {
            self.ratios.push(ours.p50() / peer);
        }
    }

    /// The median of the blocks' ratios, in which a busy second's effect on both cancels out.
    pub(crate) fn ratio(&self) -> f64 {
        self.ratios.p50()
    }
}

pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len().max(1) as f64).exp()
}
