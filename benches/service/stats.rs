//! Medians, percentiles and ratios. Pure.

/// Measured values, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that a part `q` of all (0 to 1) does not exceed, by the nearest rank; 0 where there is none.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0.0)
    }

    pub fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    pub fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Ours and a peer's, measured in turns: in every block some of ours, then one of the peer's.
#[derive(Debug, Clone, Default)]
pub struct Paired {
    pub ours: Samples,
    pub peer: Samples,
    ratios: Samples,
}

impl Paired {
    pub fn block(&mut self, ours: &Samples, peer: f64) {
        self.ours.extend(ours);
        self.peer.push(peer);
        if peer > 0.0 {
            self.ratios.push(ours.p50() / peer);
        }
    }

    /// The median of the blocks' ratios: what one busy second does to both cancels out.
    pub fn ratio(&self) -> f64 {
        self.ratios.p50()
    }
}

pub fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len().max(1) as f64).exp()
}
