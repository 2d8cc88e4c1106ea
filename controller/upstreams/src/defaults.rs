//! Facts about models by their names, for those whose settings say nothing. Guesses that the settings overrule.

use cofferdam_dialects::{DEFAULT_MAX_TOKENS, Target};

use crate::kind::Kind;
use crate::spec::ModelSpec;

/// The model as the translation needs to know it.
pub(crate) fn target<'a>(kind: Kind, model: &'a str, spec: Option<&'a ModelSpec>) -> Target<'a> {
    let there = spec.map_or(model, ModelSpec::there);
    let claude = matches!(kind, Kind::Anthropic | Kind::Bedrock).then(|| claude_version(there)).flatten();
    // Thinking began with 3.7; a model decides by itself how much since 4.6.
    let (mut reasons, mut budgets) = claude.map_or((true, false), |version| (version >= (3, 7), version < (4, 6)));
    if matches!(kind, Kind::Openai | Kind::Azure) && (there.starts_with("gpt-3") || there.starts_with("gpt-4")) {
        reasons = false;
    }
    budgets &= reasons;
    let of = |flag: Option<bool>, usual: bool| flag.unwrap_or(usual);
    Target {
        model: there,
        max_tokens: spec.and_then(|spec| spec.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS),
        reasons: of(spec.and_then(|spec| spec.reasons), reasons),
        budgets: of(spec.and_then(|spec| spec.budgets), budgets),
        system_turns: of(spec.and_then(|spec| spec.system_turns), claude.is_none_or(|version| version >= (4, 6))),
        old_max_tokens: of(spec.and_then(|spec| spec.old_max_tokens), kind == Kind::Compatible),
        thinking_blocks: of(spec.and_then(|spec| spec.thinking_blocks), false),
    }
}

/// The version in the name of a model of Anthropic's: `claude-opus-4-5-20251101` is 4.5, `claude-3-7-sonnet` is 3.7.
fn claude_version(name: &str) -> Option<(u32, u32)> {
    let (_, rest) = name.split_once("claude-")?;
    // A date has eight digits, and Bedrock's names end with `-v1:0`.
    let mut numbers = rest.split('-').skip_while(|part| part.parse::<u32>().is_err());
    let first = numbers.next()?.parse::<u32>().ok().filter(|number| *number < 100)?;
    let second = numbers.next().and_then(|part| part.parse::<u32>().ok()).filter(|number| *number < 100);
    Some((first, second.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_says_how_it_thinks() {
        for (kind, name, reasons, budgets) in [
            (Kind::Anthropic, "claude-3-5-haiku-20241022", false, false),
            (Kind::Anthropic, "claude-3-7-sonnet-20250219", true, true),
            (Kind::Anthropic, "claude-sonnet-4-20250514", true, true),
            (Kind::Anthropic, "claude-opus-4-5", true, true),
            (Kind::Anthropic, "claude-opus-4-6", true, false),
            (Kind::Anthropic, "claude-next", true, false),
            (Kind::Bedrock, "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", true, true),
            (Kind::Bedrock, "us.anthropic.claude-opus-5-v1:0", true, false),
            (Kind::Openai, "gpt-4.1", false, false),
            (Kind::Openai, "gpt-5.2", true, false),
        ] {
            let target = target(kind, name, None);
            assert_eq!((target.reasons, target.budgets, target.model), (reasons, budgets, name), "{name}");
        }
    }

    #[test]
    fn the_settings_overrule_it() {
        let spec = ModelSpec {
            target: Some("there".to_owned()),
            max_tokens: Some(7),
            reasons: Some(false),
            old_max_tokens: Some(false),
            ..ModelSpec::named("here")
        };
        let target = target(Kind::Compatible, "here", Some(&spec));
        assert_eq!(
            (target.model, target.max_tokens, target.reasons, target.old_max_tokens),
            ("there", 7, false, false)
        );
    }
}
