//! A breaker for each model of an upstream: a model that always fails is not asked for a while, and the others are. Callers
//! choose names, so their number is bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::breaker::{Breaker, Clock, Entry};

/// The most models with a breaker. Further ones have none: only the upstream's own counts for them.
const MAX_MODELS: usize = 256;

#[derive(Debug)]
pub(crate) struct PerModel {
    clock: Clock,
    breakers: RwLock<HashMap<String, Arc<Breaker>>>,
}

impl PerModel {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, breakers: RwLock::default() }
    }

    /// Says how long to wait, if the model must not be asked for now.
    pub(crate) fn ready(&self, model: &str) -> Result<(), Duration> {
        self.breakers.read().get(model).map_or(Ok(()), |breaker| breaker.ready())
    }

    /// Lets a call for the model go out.
    pub(crate) fn enter(&self, model: &str) -> Result<Option<Entry>, Duration> {
        let found = self.breakers.read().get(model).cloned();
        let breaker = match found {
            Some(breaker) => Some(breaker),
            None => self.make(model),
        };
        breaker.map(|breaker| breaker.enter()).transpose()
    }

    fn make(&self, model: &str) -> Option<Arc<Breaker>> {
        let mut breakers = self.breakers.write();
        if breakers.len() >= MAX_MODELS {
            breakers.retain(|_, breaker| !breaker.is_quiet());
        }
        if breakers.len() >= MAX_MODELS && !breakers.contains_key(model) {
            return None;
        }
        let breaker = breakers.entry(model.to_owned()).or_insert_with(|| Arc::new(Breaker::new(self.clock)));
        Some(Arc::clone(breaker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::MAX_FAILURES;

    #[test]
    fn one_model_does_not_close_another_and_names_are_bounded() {
        let all = PerModel::new(Clock::new());
        for _ in 0..MAX_FAILURES {
            all.enter("boom").unwrap().unwrap().failed();
        }
        assert!(all.ready("boom").is_err() && all.enter("boom").is_err());
        assert!(all.ready("good").is_ok() && all.enter("good").unwrap().is_some());
        for number in 0..2 * MAX_MODELS {
            assert!(all.enter(&format!("m{number}")).unwrap().is_some(), "those that never failed make room");
        }
        assert!(all.breakers.read().len() <= MAX_MODELS);
        assert!(all.ready("boom").is_err(), "what failed is not forgotten");
        for number in 0..2 * MAX_MODELS {
            if let Some(entry) = all.enter(&format!("f{number}")).unwrap() {
                entry.failed();
            }
        }
        assert!(all.breakers.read().len() <= MAX_MODELS && all.enter("one-more").unwrap().is_none());
    }
}
