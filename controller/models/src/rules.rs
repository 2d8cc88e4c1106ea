//! Rules and grants: which models a caller may use, in which regions, and with how many tokens. All that apply have to allow.
//! Pure.

use std::collections::BTreeSet;

use cofferdam_dialects::{Head, Kind};
use cofferdam_upstreams::Owner;
use cofferdam_usage::{Ending, Who, matches};

use crate::call::Narrow;
use crate::name::Candidate;
use crate::refusal::Refusal;
use crate::settings::{Catalogue, RuleSpec, Subject};

/// Models shown in a refusal.
const MAX_SHOWN_MODELS: usize = 16;
/// Characters shown of a model's name that the caller wrote.
const MAX_SHOWN_NAME_CHARS: usize = 128;

/// The rules that apply to one call.
pub(crate) struct Rules<'a> {
    catalogue: &'a Catalogue,
    rules: Vec<(&'a str, &'a RuleSpec)>,
    narrow: &'a [Narrow],
}

impl<'a> Rules<'a> {
    pub(crate) fn of(catalogue: &'a Catalogue, who: &Who, narrow: &'a [Narrow]) -> Self {
        let applies = |rule: &RuleSpec| match &rule.subject {
            Subject::Organization => true,
            Subject::Key(key) => *key == who.key,
            Subject::Agent(agent) => who.agent.as_deref() == Some(agent),
        };
        let rules = catalogue.rules.iter().filter(|(_, rule)| applies(rule));
        Self { catalogue, rules: rules.map(|(name, rule)| (name.as_str(), rule)).collect(), narrow }
    }

    /// True if the caller may ask for this name.
    pub(crate) fn allow(&self, model: &str) -> bool {
        self.forbidding(model).is_none()
    }

    /// The first list that does not have the name, with the words for it.
    fn forbidding(&self, model: &str) -> Option<(String, &[String])> {
        let bare = self.bare(model);
        let rules = self.rules.iter().filter_map(|(name, rule)| {
            let models = rule.models.as_deref()?;
            let listed = models.iter().any(|pattern| covers(pattern, model, bare));
            (!listed).then(|| (format!("the rule `{name}`"), models))
        });
        let narrow = self.narrow.iter().filter_map(|narrow| {
            let models = narrow.models.as_deref()?;
            let listed = |name: &String| if narrow.exact { name == model } else { covers(name, model, bare) };
            (!models.iter().any(listed)).then(|| (narrow.name.to_owned(), models))
        });
        rules.chain(narrow).next()
    }

    /// The model's own name where an upstream's stands before it.
    fn bare<'m>(&self, model: &'m str) -> Option<&'m str> {
        let (upstream, bare) = model.split_once('/')?;
        let known = self.catalogue.upstreams.contains_key(upstream) || self.catalogue.broken.contains_key(upstream);
        known.then_some(bare)
    }

    /// Refuses a name that is not allowed.
    pub(crate) fn check_model(&self, model: &str) -> Result<(), Refusal> {
        let Some((who, models)) = self.forbidding(model) else { return Ok(()) };
        let shown: String = model.chars().take(MAX_SHOWN_NAME_CHARS).collect();
        let has = models.iter().take(MAX_SHOWN_MODELS).map(String::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("The model {shown:?} is not allowed here: {who} allows [{has}].");
        Err(Refusal::new(Kind::Permission, Ending::Refused, message).at("model"))
    }

    /// True if a grant's name may lead to this candidate. The operator allows sandboxes names, and an organization's own alias
    /// must not make one of them another of the operator's models.
    pub(crate) fn allow_candidate(&self, asked: &str, candidate: &Candidate) -> bool {
        let exact = self.narrow.iter().filter(|narrow| narrow.exact).filter_map(|narrow| narrow.models.as_ref());
        if !self.catalogue.own_aliases.contains(asked) || *candidate.upstream.owner() != Owner::Operator {
            return true;
        }
        let full = candidate.full();
        exact.into_iter().all(|models| models.iter().any(|name| *name == candidate.model || *name == full))
    }

    /// True if calls may be served from this region.
    pub(crate) fn allow_region(&self, region: Option<&str>) -> bool {
        let lists = self.rules.iter().filter_map(|(_, rule)| rule.regions.as_ref());
        lists
            .into_iter()
            .all(|regions| region.is_some_and(|region| regions.iter().any(|pattern| matches(pattern, region))))
    }

    /// Refuses a model whose upstreams are all in other regions than the rules allow.
    pub(crate) fn outside(&self, candidates: &[Candidate]) -> Refusal {
        let regions: BTreeSet<&str> = candidates.iter().filter_map(|candidate| candidate.upstream.region()).collect();
        let here = regions.iter().take(MAX_SHOWN_MODELS).copied().collect::<Vec<_>>().join(", ");
        let here = if here.is_empty() { "none".to_owned() } else { here };
        let forbids = |patterns: &[String]| {
            candidates.iter().any(|candidate| {
                !candidate
                    .upstream
                    .region()
                    .is_some_and(|region| patterns.iter().any(|pattern| matches(pattern, region)))
            })
        };
        let rules = self.rules.iter().filter_map(|(name, rule)| Some((name, rule.regions.as_deref()?)));
        let said: Vec<String> = rules
            .filter(|(_, patterns)| forbids(patterns))
            .take(MAX_SHOWN_MODELS)
            .map(|(name, patterns)| {
                let has = patterns.iter().take(MAX_SHOWN_MODELS).map(String::as_str).collect::<Vec<_>>().join(", ");
                format!("the rule `{name}` allows [{has}]")
            })
            .collect();
        let message =
            format!("This model is not in a region that is allowed here: {}. It is in: {here}.", said.join(", "));
        Refusal::new(Kind::Permission, Ending::Refused, message).at("model")
    }

    /// The most tokens of all choices of an answer, and the name of the rule that says so.
    fn max_tokens(&self) -> Option<(u64, String)> {
        let rules = self.rules.iter().filter_map(|(name, rule)| Some((rule.max_tokens?, format!("the rule `{name}`"))));
        let narrow = self.narrow.iter().filter_map(|narrow| Some((narrow.max_tokens?, narrow.name.to_owned())));
        rules.chain(narrow).min_by_key(|limit| limit.0)
    }

    /// The limit of tokens for each choice that has to be written into the request, where the caller gives none.
    ///
    /// # Errors
    /// The caller asks for more than is allowed.
    pub(crate) fn check_tokens(&self, head: &Head<'_>) -> Result<Option<u64>, Refusal> {
        let Some((most, name)) = self.max_tokens() else { return Ok(None) };
        let choices = head.choices.max(1);
        let each = most / choices;
        if each == 0 {
            let message = format!("{choices} choices; {name} allows {most} tokens in all");
            return Err(Refusal::new(Kind::Permission, Ending::Refused, message).at("n"));
        }
        match head.max_tokens {
            Some(asked) if asked.checked_mul(choices).is_none_or(|all| all > most) => {
                let message = match choices {
                    1 => format!("asks for {asked} tokens; {name} allows {most}"),
                    _ => format!("asks for {asked} tokens for each of {choices} choices; {name} allows {most} in all"),
                };
                Err(Refusal::new(Kind::Permission, Ending::Refused, message).at("max_tokens"))
            }
            _ => Ok(Some(each)),
        }
    }
}

/// A pattern covers a name as the caller wrote it, or, without an upstream's name in it, the same model of any upstream.
fn covers(pattern: &str, model: &str, bare: Option<&str>) -> bool {
    matches(pattern, model) || bare.is_some_and(|bare| !pattern.contains('/') && matches(pattern, bare))
}

#[cfg(test)]
mod tests {
    use cofferdam_dialects::Dialect;

    use super::*;
    use crate::testing::{catalogue, upstream, who};

    const RULES: &[(&str, &str)] = &[
        ("all", r#"{"for":"organization","models":["gpt-*","fast","eu/*"]}"#),
        ("key", r#"{"for":{"key":"k1"},"models":["gpt-5-mini","fast"],"max_tokens":100}"#),
        ("agent", r#"{"for":{"agent":"a1"},"regions":["eu-*"],"max_tokens":50}"#),
    ];

    #[test]
    fn every_rule_that_applies_has_to_allow() {
        let catalogue = catalogue(&[upstream("openai", None), upstream("eu", Some("eu-central-1"))], RULES);
        for (key, agent, model, allowed) in [
            ("k2", None, "gpt-5", true),
            ("k2", None, "openai/gpt-5", true),
            ("k2", None, "nowhere/gpt-5", false),
            ("k2", None, "claude", false),
            ("k2", None, "eu/claude", true),
            ("k2", None, "fast", true),
            ("k2", None, "Fast", false),
            ("k2", None, "", false),
            ("k1", None, "gpt-5", false),
            ("k1", None, "gpt-5-mini", true),
            ("k1", None, "openai/gpt-5-mini", true),
            ("k1", Some("a1"), "fast", true),
        ] {
            let rules = Rules::of(&catalogue, &who(key, agent), &[]);
            assert_eq!(rules.allow(model), allowed, "{key} {agent:?} {model}");
        }
        let narrow = [Narrow {
            name: "grants.llm",
            models: Some(vec!["fast".to_owned()]),
            max_tokens: None,
            exact: false,
            no_servers: false,
        }];
        let who = who("k2", Some("a1"));
        let rules = Rules::of(&catalogue, &who, &narrow);
        assert!(rules.allow("fast") && !rules.allow("gpt-5"));
        let said = rules.check_model("gpt-5").unwrap_err();
        assert!(said.message.contains("grants.llm allows [fast]") && said.kind == Kind::Permission, "{said:?}");
        assert!(
            rules.allow_region(Some("eu-west-1")) && !rules.allow_region(Some("us-1")) && !rules.allow_region(None)
        );
        assert!(Rules::of(&catalogue, &crate::testing::who("k2", None), &[]).allow_region(None));
    }

    #[test]
    fn an_organizations_alias_does_not_lead_a_grant_to_another_of_the_operators_models() {
        let mut catalogue = catalogue(&[upstream("openai", None)], &[]);
        catalogue.aliases.insert("small".to_owned(), serde_json::from_str(r#"{"chain":["openai/huge"]}"#).unwrap());
        let grant = |models: &[&str]| {
            let models = Some(models.iter().map(|name| (*name).to_owned()).collect());
            [Narrow { name: "grants.llm", models, exact: true, no_servers: true, max_tokens: None }]
        };
        let candidate = &crate::name::candidates(&catalogue, "small", &mut |_| 0)[0];
        let who = who("k", None);
        let allows = |catalogue: &Catalogue, models: &[&str]| {
            Rules::of(catalogue, &who, &grant(models)).allow_candidate("small", candidate)
        };
        assert!(allows(&catalogue, &["small"]), "the operator's own alias");
        catalogue.own_aliases.insert("small".to_owned());
        assert!(!allows(&catalogue, &["small"]));
        assert!(allows(&catalogue, &["small", "huge"]) && allows(&catalogue, &["small", "openai/huge"]));
        assert!(Rules::of(&catalogue, &who, &[]).allow_candidate("small", candidate), "no grant");
    }

    #[test]
    fn a_refusal_for_its_region_names_the_rules() {
        let catalogue = catalogue(&[upstream("openai", None), upstream("us", Some("us-east-1"))], RULES);
        let who = who("k2", Some("a1"));
        let rules = Rules::of(&catalogue, &who, &[]);
        for (model, place) in [("us/gpt-5", "It is in: us-east-1."), ("openai/gpt-5", "It is in: none.")] {
            let said = rules.outside(&crate::name::candidates(&catalogue, model, &mut |_| 0));
            assert!(
                said.message.contains("the rule `agent` allows [eu-*]") && said.message.contains(place),
                "{said:?}"
            );
        }
    }

    #[test]
    fn limits_of_tokens_are_for_all_choices() {
        let catalogue = catalogue(&[], RULES);
        let asked = |agent, body: &str| {
            let head = Head::read(Dialect::Chat, body.as_bytes()).unwrap();
            let who = who("k1", agent);
            Rules::of(&catalogue, &who, &[]).check_tokens(&head).map_err(|refusal| (refusal.field, refusal.message))
        };
        assert_eq!(asked(None, r#"{"model":"m"}"#), Ok(Some(100)));
        assert_eq!(asked(Some("a1"), r#"{"model":"m"}"#), Ok(Some(50)));
        assert_eq!(asked(Some("a1"), r#"{"model":"m","n":3}"#), Ok(Some(16)));
        assert_eq!(asked(None, r#"{"model":"m","max_tokens":100}"#), Ok(Some(100)));
        for body in [
            r#"{"model":"m","max_tokens":101}"#,
            r#"{"model":"m","max_completion_tokens":51,"n":2}"#,
            r#"{"model":"m","n":101}"#,
            r#"{"model":"m","max_tokens":1,"n":18446744073709551615}"#,
        ] {
            assert!(asked(None, body).is_err(), "{body}");
        }
    }
}
