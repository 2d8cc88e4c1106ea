//! Finds the upstreams that may serve a model's name: an alias, `UPSTREAM/MODEL`, or a model that upstreams list. Orders them
//! by their steps and weights. Never decides whether the caller may use them.

use std::sync::Arc;

use cofferdam_upstreams::{Closed, Kind, Upstream, UpstreamSpec};

use crate::settings::{AliasSpec, Broken, Catalogue};

/// The most upstreams that one call may be sent to, one after the other.
const MAX_CANDIDATES: usize = 16;

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
    let mut found: Vec<Candidate> = serving(catalogue, name, draw).into_iter().filter_map(Result::ok).collect();
    found.truncate(MAX_CANDIDATES);
    found
}

/// A broken upstream, with its name, that would serve the name if it could.
pub(crate) fn broken<'a>(catalogue: &'a Catalogue, name: &str) -> Option<(&'a str, &'a Broken)> {
    serving(catalogue, name, &mut |_| 0).into_iter().find_map(Result::err)
}

/// A candidate, or a broken upstream in its place.
type Serving<'a> = Result<Candidate, (&'a str, &'a Broken)>;

fn serving<'a>(catalogue: &'a Catalogue, name: &str, draw: &mut dyn FnMut(u64) -> u64) -> Vec<Serving<'a>> {
    match catalogue.aliases.get(name) {
        Some(alias) => of_alias(catalogue, alias, draw),
        None => direct(catalogue, name),
    }
}

fn of_alias<'a>(catalogue: &'a Catalogue, alias: &AliasSpec, draw: &mut dyn FnMut(u64) -> u64) -> Vec<Serving<'a>> {
    let mut found: Vec<Serving<'a>> = Vec::new();
    for step in &alias.chain {
        let mut left: Vec<(u64, Vec<Serving<'a>>)> =
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
        if found.iter().filter(|serving| serving.is_ok()).count() >= MAX_CANDIDATES {
            break;
        }
    }
    found
}

/// An upstream, or one that is broken, which keeps its place: a call that is meant for it goes to no other provider.
#[derive(Clone, Copy)]
enum Server<'a> {
    Works(&'a Arc<Upstream>),
    Broken(&'a str, &'a Broken),
}

impl<'a> Server<'a> {
    fn named(catalogue: &'a Catalogue, name: &str) -> Option<Self> {
        let broken = || catalogue.broken.get_key_value(name).map(|(name, broken)| Self::Broken(name, broken));
        catalogue.upstreams.get(name).map(Self::Works).or_else(broken)
    }

    fn all(catalogue: &'a Catalogue) -> impl Iterator<Item = Self> {
        let broken = catalogue.broken.iter().map(|(name, broken)| Self::Broken(name, broken));
        catalogue.upstreams.values().map(Self::Works).chain(broken)
    }

    fn spec(self) -> Option<&'a UpstreamSpec> {
        match self {
            Self::Works(upstream) => Some(upstream.spec()),
            Self::Broken(_, broken) => broken.spec(),
        }
    }

    fn is_open(self) -> bool {
        match self {
            Self::Works(upstream) => upstream.spec().models.is_empty(),
            Self::Broken(_, broken) => broken.is_open(),
        }
    }

    fn serves(self, model: &str) -> bool {
        match self {
            Self::Works(upstream) => upstream.serves(model).is_some(),
            Self::Broken(_, broken) => broken.serves(model),
        }
    }

    fn serving(self, model: &str) -> Serving<'a> {
        match self {
            Self::Works(upstream) => Ok(Candidate { upstream: Arc::clone(upstream), model: model.to_owned() }),
            Self::Broken(name, broken) => Err((name, broken)),
        }
    }
}

/// The candidates of a name that is no alias.
fn direct<'a>(catalogue: &'a Catalogue, name: &str) -> Vec<Serving<'a>> {
    if let Some((upstream, model)) = name.split_once('/')
        && let Some(server) = Server::named(catalogue, upstream)
        && !model.is_empty()
    {
        return if server.serves(model) { vec![server.serving(model)] } else { Vec::new() };
    }
    let listed: Vec<Serving<'a>> = Server::all(catalogue)
        .filter(|server| !server.is_open() && server.serves(name))
        .map(|server| server.serving(name))
        .take(MAX_CANDIDATES)
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let mut open: Vec<Server<'a>> = Server::all(catalogue).filter(|server| server.is_open()).collect();
    // A provider that does not have the model must not see the prompt. A name that no provider uses is most likely one of a
    // compatible server.
    let choices: [fn(&UpstreamSpec, &str) -> bool; 2] = [|spec, name| is_at_home(spec.kind, name), may_have];
    for choice in choices {
        let fits = |server: &Server<'a>| server.spec().is_some_and(|spec| choice(spec, name));
        if open.iter().any(fits) {
            open.retain(fits);
            break;
        }
    }
    open.into_iter().take(MAX_CANDIDATES).map(|server| server.serving(name)).collect()
}

/// True if a provider of this kind is the one that names its models so.
fn is_at_home(kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Anthropic => name.starts_with("claude"),
        Kind::Bedrock => name.starts_with("anthropic.") || name.contains(".anthropic."),
        Kind::Vertex | Kind::Gemini => name.starts_with("gemini") || name.starts_with("google/"),
        Kind::Openai | Kind::Azure => {
            !is_open_weights(name)
                && ["gpt", "o1", "o3", "o4", "text-embedding", "chatgpt", "codex"]
                    .iter()
                    .any(|start| name.starts_with(start))
        }
        Kind::Compatible => false,
    }
}

/// OpenAI's models that others serve, and OpenAI itself does not.
fn is_open_weights(name: &str) -> bool {
    name.starts_with("gpt-oss")
}

/// True if the upstream may have a model that no provider names so.
fn may_have(spec: &UpstreamSpec, name: &str) -> bool {
    match spec.kind {
        Kind::Compatible => true,
        Kind::Openai => spec.base_url.is_some() || !is_open_weights(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_upstreams::{ModelSpec, Net, Owner};

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
    fn a_broken_upstream_keeps_its_place_and_refuses() {
        let of = |kind, models: &[&str]| {
            let models = models.iter().map(|model| ModelSpec::named(*model)).collect();
            Broken::new(Some(UpstreamSpec { models, ..UpstreamSpec::new(kind) }), "why")
        };
        let mut all = catalogue(
            &[made("azure-eu", Kind::Compatible, &["gpt-5", "both"]), made("local", Kind::Compatible, &[])],
            &[],
        );
        all.broken.insert("anthropic".to_owned(), of(Kind::Anthropic, &[]));
        all.broken.insert("lists".to_owned(), of(Kind::Openai, &["special", "both"]));
        let chain = r#"{"chain":["lists/special","azure-eu/gpt-5"]}"#;
        all.aliases.insert("fast".to_owned(), serde_json::from_str(chain).unwrap());
        all.aliases.insert("only".to_owned(), serde_json::from_str(r#"{"chain":["anthropic/claude-x"]}"#).unwrap());
        for (name, expected, refusing) in [
            ("anthropic/claude-x", &[][..], Some("anthropic")),
            ("claude-x", &[], Some("anthropic")),
            ("only", &[], Some("anthropic")),
            ("special", &[], Some("lists")),
            ("lists/special", &[], Some("lists")),
            ("lists/other", &[], None),
            ("both", &["azure-eu/both"], Some("lists")),
            ("fast", &["azure-eu/gpt-5"], Some("lists")),
            ("gpt-4", &["local/gpt-4"], None),
        ] {
            assert_eq!(found(&all, name), expected, "{name}");
            assert_eq!(broken(&all, name).map(|broken| broken.0), refusing, "{name}");
        }
        // Nobody knows which models it lists.
        all.broken.insert("unread".to_owned(), Broken::new(None, "why"));
        assert_eq!(found(&all, "gpt-4"), [""; 0]);
        assert_eq!(found(&all, "gpt-5"), ["azure-eu/gpt-5"]);
    }

    #[test]
    fn open_weights_are_not_asked_of_openai() {
        let openai = || {
            let keys = vec![cofferdam_core::Secret::new("sk-0123456789")];
            let net = Net::new(Vec::new(), Vec::new());
            Upstream::new("openai", Owner::Operator, UpstreamSpec::new(Kind::Openai), keys, &net).unwrap()
        };
        let all = catalogue(&[openai(), made("vllm", Kind::Compatible, &[])], &[]);
        assert_eq!(found(&all, "gpt-oss-120b"), ["vllm/gpt-oss-120b"]);
        assert_eq!(found(&all, "gpt-oss:20b"), ["vllm/gpt-oss:20b"]);
        assert_eq!(found(&all, "gpt-5"), ["openai/gpt-5"]);
        // A server of the operator's own that speaks OpenAI's protocol.
        let all = catalogue(&[made("mine", Kind::Openai, &[]), made("vllm", Kind::Compatible, &[])], &[]);
        assert_eq!(found(&all, "gpt-oss-120b"), ["mine/gpt-oss-120b", "vllm/gpt-oss-120b"]);
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
