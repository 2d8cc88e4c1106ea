//! Prices: dollars per million tokens, and which price a model has. The cost of a call is exact, rounded up once.
//!
//! Three layers, the first that knows a model decides: the organization's documents, the operator's, the table that the
//! program brings. Within a layer the most specific name wins. What the operator pays for is priced by the operator alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofferdam_dialects::Usage;
use cofferdam_usage::matches;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dollars::{Dollars, DollarsShape};
use super::pattern::check_model;

/// The tokens that a price is for.
const MILLION: u128 = 1_000_000;

/// Dollars per million tokens: numbers, or decimal texts with up to nine decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceSpec {
    #[schema(value_type = DollarsShape)]
    pub input: Dollars,
    #[schema(value_type = DollarsShape)]
    pub output: Dollars,
    /// Input tokens that were read from a cache; as `input` if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DollarsShape>)]
    pub cached_input: Option<Dollars>,
    /// Input tokens that were written into a cache; as `input` if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DollarsShape>)]
    pub cache_write: Option<Dollars>,
    /// Input tokens that were written into a cache for an hour; as `cache_write` if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DollarsShape>)]
    pub cache_write_1h: Option<Dollars>,
    /// Prices of calls with long inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPrice>,
}

/// The prices of the whole call, if its input has more tokens than `above`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPrice {
    pub above: u64,
    #[schema(value_type = DollarsShape)]
    pub input: Dollars,
    #[schema(value_type = DollarsShape)]
    pub output: Dollars,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DollarsShape>)]
    pub cached_input: Option<Dollars>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DollarsShape>)]
    pub cache_write: Option<Dollars>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DollarsShape>)]
    pub cache_write_1h: Option<Dollars>,
}

impl PriceSpec {
    /// Nano-dollars, rounded up.
    fn cost(&self, tokens: &Usage) -> u64 {
        let long = self.long.as_ref().filter(|long| tokens.input > long.above);
        let (input, output, cached, written, for_long) = match long {
            Some(long) => (long.input, long.output, long.cached_input, long.cache_write, long.cache_write_1h),
            None => (self.input, self.output, self.cached_input, self.cache_write, self.cache_write_1h),
        };
        let written = written.unwrap_or(input);
        let hour = tokens.cache_write_long.min(tokens.cache_write);
        let plain = tokens.input.saturating_sub(tokens.cached).saturating_sub(tokens.cache_write);
        let part = |count: u64, price: Dollars| u128::from(count) * u128::from(price.nano());
        let sum = part(plain, input)
            + part(tokens.cached, cached.unwrap_or(input))
            + part(tokens.cache_write - hour, written)
            + part(hour, for_long.unwrap_or(written))
            + part(tokens.output, output);
        u64::try_from(sum.div_ceil(MILLION)).unwrap_or(u64::MAX)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match &self.long {
            Some(long) if long.above == 0 => Err("long.above: at least 1 token".to_owned()),
            _ => Ok(()),
        }
    }
}

/// One layer of prices.
#[derive(Debug, Clone, Default)]
pub struct PriceTable {
    exact: BTreeMap<String, PriceSpec>,
    /// The longest first.
    patterns: Vec<(String, PriceSpec)>,
}

impl PriceTable {
    pub fn new(prices: impl IntoIterator<Item = (String, PriceSpec)>) -> Self {
        let mut table = Self::default();
        for (name, price) in prices {
            if name.contains('*') {
                table.patterns.push((name, price));
            } else {
                table.exact.insert(name, price);
            }
        }
        table.patterns.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        table
    }

    fn find(&self, full: &str, model: &str) -> Option<&PriceSpec> {
        self.exact.get(full).or_else(|| self.exact.get(model)).or_else(|| {
            let fits = |name: &str| matches(name, full) || matches(name, model);
            self.patterns.iter().find(|(name, _)| fits(name)).map(|(_, price)| price)
        })
    }

    /// Every price with its name or pattern.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &PriceSpec)> {
        self.exact.iter().chain(self.patterns.iter().map(|(name, price)| (name, price)))
    }
}

/// The prices that are valid for an organization.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    own: PriceTable,
    operator: Arc<PriceTable>,
    built_in: Arc<PriceTable>,
    /// Upstreams that the operator pays for: the organization's own prices do not apply to them.
    paid_for: BTreeSet<String>,
}

impl Prices {
    pub(super) fn new(
        own: PriceTable,
        operator: Arc<PriceTable>,
        built_in: Arc<PriceTable>,
        paid_for: BTreeSet<String>,
    ) -> Self {
        Self { own, operator, built_in, paid_for }
    }

    fn find(&self, upstream: &str, model: &str) -> Option<&PriceSpec> {
        let full = format!("{upstream}/{model}");
        let own = if self.paid_for.contains(upstream) { None } else { self.own.find(&full, model) };
        own.or_else(|| self.operator.find(&full, model)).or_else(|| self.built_in.find(&full, model))
    }

    /// Returns true if the model has a price.
    pub fn known(&self, upstream: &str, model: &str) -> bool {
        self.find(upstream, model).is_some()
    }

    /// The price of a model of an upstream.
    pub fn get(&self, upstream: &str, model: &str) -> Option<&PriceSpec> {
        self.find(upstream, model)
    }

    /// The cost of a call in nano-dollars, rounded up.
    pub fn cost(&self, upstream: &str, model: &str, tokens: &Usage) -> Option<u64> {
        Some(self.find(upstream, model)?.cost(tokens))
    }

    /// The most that a call with so many tokens can cost, whichever of them a cache reads or writes.
    pub fn most(&self, upstream: &str, model: &str, input: u64, output: u64) -> Option<u64> {
        let price = self.find(upstream, model)?;
        let with = |cached, cache_write, cache_write_long| {
            price.cost(&Usage { input, cached, cache_write, cache_write_long, output, reasoning: 0 })
        };
        Some(with(0, 0, 0).max(with(input, 0, 0)).max(with(0, input, 0)).max(with(0, input, input)))
    }
}

/// Checks the name of a price: a model, `UPSTREAM/MODEL`, or a pattern of one of them.
pub(super) fn check_price_name(name: &str) -> Result<(), String> {
    check_model("name", name, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::operator::price_table;

    fn table(text: &str) -> PriceTable {
        price_table("test", text).unwrap()
    }

    fn built_in() -> Arc<PriceTable> {
        Arc::new(table(crate::settings::BUILT_IN_PRICES))
    }

    fn one(name: &str, dollars: u32) -> PriceTable {
        table(&format!("[[prices]]\nname = {name:?}\ninput = {dollars}\noutput = {dollars}"))
    }

    const MILLION_IN: Usage =
        Usage { input: 1_000_000, cached: 0, cache_write: 0, cache_write_long: 0, output: 0, reasoning: 0 };

    fn dollars(prices: &Prices, upstream: &str, model: &str) -> Option<u64> {
        prices.cost(upstream, model, &MILLION_IN).map(|nano| nano / 1_000_000_000)
    }

    #[test]
    fn a_cost_is_exact_and_rounded_up_once() {
        let price: PriceSpec = serde_json::from_str(
            r#"{"input": "0.15", "output": "0.6", "cached_input": "0.075", "cache_write": "0.2",
                "long": {"above": 1000, "input": "0.3", "output": "1.2"}}"#,
        )
        .unwrap();
        for (input, cached, cache_write, output, nano) in [
            (0, 0, 0, 0, 0),
            (1, 0, 0, 0, 150),
            (10, 0, 0, 10, 1_500 + 6_000),
            (10, 4, 0, 0, 6 * 150 + 4 * 75),
            (10, 4, 6, 0, 4 * 75 + 6 * 200),
            // An upstream that counts its cache beside the input.
            (10, 20, 0, 0, 20 * 75),
            (1_000, 0, 0, 0, 150_000),
            (1_001, 1, 0, 1, 1_001 * 300 + 1_200),
            (u64::MAX, 0, 0, u64::MAX, u64::MAX),
        ] {
            let cost = price.cost(&Usage { input, cached, cache_write, output, ..Usage::default() });
            assert_eq!(cost, nano, "{input} {cached} {cache_write} {output}");
        }
        let tiny: PriceSpec = serde_json::from_str(r#"{"input": "0.000000001", "output": "0.000000001"}"#).unwrap();
        let tokens = |input, output| Usage { input, output, ..Usage::default() };
        assert_eq!((tiny.cost(&tokens(1, 0)), tiny.cost(&tokens(1, 1)), tiny.cost(&tokens(0, 0))), (1, 1, 0));
        let dearest = Dollars::parse("1000000").unwrap();
        let dear = PriceSpec { input: dearest, output: dearest, ..tiny };
        assert_eq!(dear.cost(&tokens(u64::MAX, u64::MAX)), u64::MAX);
    }

    #[test]
    fn what_is_kept_for_an_hour_has_its_own_price() {
        let prices = Prices::new(PriceTable::default(), Arc::default(), built_in(), BTreeSet::new());
        // 5 dollars in: 6.25 for five minutes, 10 for an hour.
        let written = |cache_write, cache_write_long| {
            let tokens = Usage { input: 200, cache_write, cache_write_long, ..Usage::default() };
            prices.cost("any", "claude-opus-4-5", &tokens).unwrap()
        };
        assert_eq!((written(200, 0), written(200, 200)), (200 * 6_250, 200 * 10_000));
        assert_eq!(written(200, 50), 150 * 6_250 + 50 * 10_000);
        assert_eq!(written(100, 300), 100 * 5_000 + 100 * 10_000);
        let price: PriceSpec = serde_json::from_str(r#"{"input": 1, "output": 1, "cache_write": 2}"#).unwrap();
        let tokens = Usage { input: 10, cache_write: 10, cache_write_long: 10, ..Usage::default() };
        assert_eq!(price.cost(&tokens), 10 * 2_000);
        // Each of Anthropic's built-in prices: twice the input's, also of long inputs.
        let table = built_in();
        for (name, price) in table.iter().filter(|(name, _)| name.contains("claude")) {
            let twice = |input: Dollars| Some(input.nano() * 2);
            assert_eq!(price.cache_write_1h.map(Dollars::nano), twice(price.input), "{name}");
            if let Some(long) = &price.long {
                assert_eq!(long.cache_write_1h.map(Dollars::nano), twice(long.input), "{name}");
            }
        }
    }

    #[test]
    fn the_most_specific_name_wins_and_the_organizations_layer_first() {
        let text = "[[prices]]\nname = \"*\"\ninput = 1\noutput = 1\n[[prices]]\nname = \"gpt-*\"\ninput = 2\noutput = 1\n\
                    [[prices]]\nname = \"gpt-5*\"\ninput = 3\noutput = 1\n[[prices]]\nname = \"gpt-5\"\ninput = 4\noutput = 1\n\
                    [[prices]]\nname = \"eu/gpt-5\"\ninput = 5\noutput = 1\n[[prices]]\nname = \"eu/*\"\ninput = 6\noutput = 1";
        let operator = Arc::new(table(text));
        let paid_for = BTreeSet::from(["openai".to_owned()]);
        let prices = Prices::new(one("gpt-5", 9), operator, built_in(), paid_for);
        for (upstream, model, expected) in [
            ("mine", "gpt-5", 9),
            ("openai", "gpt-5", 4),
            ("eu", "gpt-5", 9),
            ("eu", "gpt-4", 2),
            ("eu", "x", 6),
            ("openai", "gpt-5-mini", 3),
            ("openai", "gpt-4", 2),
            ("openai", "claude-opus-4-5", 1),
        ] {
            assert_eq!(dollars(&prices, upstream, model), Some(expected), "{upstream}/{model}");
        }
    }

    #[test]
    fn the_built_in_table_knows_names_as_providers_write_them() {
        let prices = Prices::new(PriceTable::default(), Arc::default(), built_in(), BTreeSet::new());
        for (model, known) in [
            ("gpt-5", true),
            ("gpt-5-2025-08-07", true),
            ("gpt-5-of-the-future", false),
            ("claude-opus-4-5", true),
            ("claude-opus-4-5-20251101", true),
            ("claude-opus-4-5@20251101", true),
            ("eu.anthropic.claude-opus-4-5-20251101-v1:0", true),
            ("claude-sonnet-4-20250514", true),
            ("claude-opus-9", false),
            ("gemini-2.5-pro", true),
            ("google/gemini-2.5-pro", true),
            ("text-embedding-3-small", true),
            ("llama3", false),
        ] {
            assert_eq!(prices.known("any", model), known, "{model}");
        }
        assert_eq!(dollars(&prices, "any", "claude-opus-4-1-20250805"), Some(15));
        // More than 200,000 tokens in: the dearer price for all of them.
        assert_eq!(prices.cost("any", "gemini-2.5-pro", &MILLION_IN), Some(2_500_000_000));
    }

    #[test]
    fn the_most_that_a_call_can_cost_covers_every_use_of_caches() {
        let prices = Prices::new(PriceTable::default(), Arc::default(), built_in(), BTreeSet::new());
        let most = prices.most("a", "claude-opus-4-5", 1_000, 100).unwrap();
        // All of it written into a cache for an hour.
        assert_eq!(most, 1_000 * 10_000 + 100 * 25_000);
        for cached in [0, 300, 1_000] {
            for cache_write in [0, 300, 1_000 - cached] {
                for cache_write_long in [0, cache_write / 2, cache_write] {
                    let tokens =
                        Usage { input: 1_000, cached, cache_write, cache_write_long, output: 100, reasoning: 0 };
                    assert!(prices.cost("a", "claude-opus-4-5", &tokens).unwrap() <= most);
                }
            }
        }
        assert_eq!(prices.most("a", "llama3", 1, 1), None);
    }
}
