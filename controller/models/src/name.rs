//! Finds the upstreams that may serve a model's name: an alias, `UPSTREAM/MODEL`, or a model that upstreams list. Orders them
//! by their steps and weights. Never decides whether the caller may use them.

use std::sync::Arc;

use cofferdam_upstreams::{Closed, Kind, Upstream};

use crate::settings::Catalogue;

/// A model of an upstream that may serve a call.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) upstream: Arc<Upstream>,
    /// The model's name at this door, without the upstream's.
    pub(crate) model: String,
}

impl Candidate {
    /// Says whether the model may be asked for now.
    pub(crate) fn ready(&self) -> Result<(), Closed> {
        self.upstream.ready(self.upstream.target(&self.model).model)
    }

    /// `UPSTREAM/MODEL`.
    pub(crate) fn full(&self) -> String {
        format!("{}/{}", self.upstream.name(), self.model)
    }
}

/// The candidates of a name, the first one first. `draw` returns a random number below its argument.
pub(crate) fn candidates(catalogue: &Catalogue, name: &str, draw: &mut dyn FnMut(u64) -> u64) -> Vec<Candidate> {
    let Some(alias) = catalogue.aliases.get(name) else { return direct(catalogue, name) };
    let mut found: Vec<Candidate> = Vec::new();
    for step in &alias.chain {
        let mut left: Vec<(u64, Vec<Candidate>)> =
            step.models().map(|choice| (u64::from(choice.weight), direct(catalogue, &choice.model))).collect();
        while !left.is_empty() {
            let all: u64 = left.iter().map(|choice| choice.0).sum();
            let mut at = if left.len() == 1 { 0 } else { draw(all.max(1)) };
            let mut chosen = left.len() - 1;
            for (number, choice) in left.iter().enumerate() {
                if at < choice.0 {
                    chosen = number;
                    break;
                }
                at -= choice.0;
            }
            found.extend(left.swap_remove(chosen).1);
        }
    }
    found
}

/// The candidates of a name that is no alias.
fn direct(catalogue: &Catalogue, name: &str) -> Vec<Candidate> {
    let candidate =
        |upstream: &Arc<Upstream>, model: &str| Candidate { upstream: Arc::clone(upstream), model: model.to_owned() };
    if let Some((upstream, model)) = name.split_once('/')
        && let Some(upstream) = catalogue.upstreams.get(upstream)
        && !model.is_empty()
    {
        return if upstream.serves(model).is_some() { vec![candidate(upstream, model)] } else { Vec::new() };
    }
    let listed: Vec<Candidate> = catalogue
        .upstreams
        .values()
        .filter(|upstream| !upstream.spec().models.is_empty() && upstream.serves(name).is_some())
        .map(|upstream| candidate(upstream, name))
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let mut open: Vec<&Arc<Upstream>> = catalogue.upstreams.values().filter(|u| u.spec().models.is_empty()).collect();
    // A provider that does not have the model must not see the prompt. A name that no provider uses is most likely one of a
    // compatible server.
    let choices: [fn(Kind, &str) -> bool; 2] = [is_at_home, |kind, _| matches!(kind, Kind::Compatible | Kind::Openai)];
    for fits in choices {
        if open.iter().any(|upstream| fits(upstream.kind(), name)) {
            open.retain(|upstream| fits(upstream.kind(), name));
            break;
        }
    }
    open.into_iter().map(|upstream| candidate(upstream, name)).collect()
}

/// True if a provider of this kind is the one that names its models so.
fn is_at_home(kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Anthropic => name.starts_with("claude"),
        Kind::Bedrock => name.starts_with("anthropic.") || name.contains(".anthropic."),
        Kind::Vertex | Kind::Gemini => name.starts_with("gemini") || name.starts_with("google/"),
        Kind::Openai | Kind::Azure => {
            ["gpt", "o1", "o3", "o4", "text-embedding", "chatgpt", "codex"].iter().any(|start| name.starts_with(start))
        }
        Kind::Compatible => false,
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_upstreams::{ModelSpec, Net, Owner, UpstreamSpec};

    use super::*;
    use crate::testing::catalogue;

    fn made(name: &str, kind: Kind, models: &[&str]) -> Arc<Upstream> {
        let spec = UpstreamSpec {
            base_url: Some("http://127.0.0.1:9/v1".to_owned()),
            models: models.iter().map(|model| ModelSpec::named(*model)).collect(),
            ..UpstreamSpec::new(kind)
        };
        let keys = vec![cofferdam_core::Secret::new("sk-0123456789")];
        Upstream::new(name, Owner::Operator, spec, keys, &Net::new(Vec::new(), Vec::new())).unwrap()
    }

    fn found(catalogue: &Catalogue, name: &str) -> Vec<String> {
        candidates(catalogue, name, &mut |below| below - 1).iter().map(Candidate::full).collect()
    }

    #[test]
    fn a_name_finds_its_candidates() {
        let mut all = catalogue(
            &[
                made("anthropic", Kind::Anthropic, &[]),
                made("openai", Kind::Openai, &[]),
                made("azure-eu", Kind::Compatible, &["gpt-5", "embed"]),
                made("local", Kind::Compatible, &["qwen/3", "embed"]),
            ],
            &[],
        );
        for (alias, text) in [
            ("fast", r#"{"chain":["azure-eu/gpt-5","openai/gpt-5"]}"#),
            ("spread", r#"{"chain":[["openai/a",{"model":"openai/b","weight":3}],"anthropic/claude-x"]}"#),
            ("gone", r#"{"chain":["nowhere/gpt-5"]}"#),
        ] {
            all.aliases.insert(alias.to_owned(), serde_json::from_str(text).unwrap());
        }
        for (name, expected) in [
            ("fast", &["azure-eu/gpt-5", "openai/gpt-5"][..]),
            ("spread", &["openai/b", "openai/a", "anthropic/claude-x"]),
            ("openai/whatever", &["openai/whatever"]),
            ("azure-eu/other", &[]),
            ("gpt-5", &["azure-eu/gpt-5"]),
            ("embed", &["azure-eu/embed", "local/embed"]),
            ("gpt-4", &["openai/gpt-4"]),
            ("claude-x", &["anthropic/claude-x"]),
            ("mistral", &["openai/mistral"]),
            ("qwen/3", &["local/qwen/3"]),
            ("local/qwen/3", &["local/qwen/3"]),
            ("openai/", &["openai/openai/"]),
        ] {
            assert_eq!(found(&all, name), expected, "{name}");
        }
        // An upstream with that name is not there: the text is a model's own name, which only open upstreams may know.
        assert!(found(&all, "gone").iter().all(|full| full.ends_with("nowhere/gpt-5")));
    }

    #[test]
    fn weights_divide_the_calls() {
        let mut all = catalogue(&[made("a", Kind::Compatible, &["m"]), made("b", Kind::Compatible, &["m"])], &[]);
        let chain = r#"{"chain":[[{"model":"a/m","weight":3},"b/m"]]}"#;
        all.aliases.insert("x".to_owned(), serde_json::from_str(chain).unwrap());
        let mut first = 0;
        for number in 0..4 {
            let order = candidates(&all, "x", &mut |below| number % below);
            assert_eq!(order.len(), 2);
            first += usize::from(order[0].upstream.name() == "a");
        }
        assert_eq!(first, 3);
    }
}
