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
        unsigned: kind == Kind::Compatible || (kind == Kind::Vertex && !there.contains("gemini")),
        extras: !matches!(kind, Kind::Openai | Kind::Azure | Kind::Anthropic | Kind::Bedrock),
        efforts: efforts(kind, there),
    }
}

/// The efforts that a model takes, as far as its name says it. A server of unknown make is told all that OpenAI's newest
/// models know: `none`, `minimal` and the rest up to `xhigh`.
fn efforts(kind: Kind, there: &str) -> &'static [&'static str] {
    let name = there.rsplit_once('/').map_or(there, |(_, name)| name);
    if matches!(kind, Kind::Anthropic | Kind::Bedrock) {
        return match claude_version(there) {
            Some((4, 6)) if name.contains("opus") => &["low", "medium", "high", "max"],
            Some((4, 6)) => &["low", "medium", "high"],
            _ => &["low", "medium", "high", "xhigh", "max"],
        };
    }
    if let Some(known) = efforts_of_openai(name) {
        return known;
    }
    match kind {
        Kind::Openai | Kind::Azure => &["none", "low", "medium", "high", "xhigh"],
        _ if name.starts_with("gemini-2.5-flash") => &["none", "low", "medium", "high"],
        _ if name.starts_with("gemini") => &["minimal", "low", "medium", "high"],
        _ => &["none", "minimal", "low", "medium", "high", "xhigh"],
    }
}

/// The efforts of OpenAI's models, whoever serves them.
fn efforts_of_openai(name: &str) -> Option<&'static [&'static str]> {
    if ["o1", "o3", "o4", "gpt-oss", "codex-mini"].iter().any(|begins| name.starts_with(begins)) {
        return Some(&["low", "medium", "high"]);
    }
    let rest = name.strip_prefix("gpt-")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (version, variant) = rest.split_at_checked(end)?;
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let version = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    Some(match (version >= (5, 2), version >= (5, 1)) {
        (true, _) if variant.starts_with("-pro") => &["medium", "high", "xhigh"],
        (true, _) if variant.starts_with("-codex") => &["low", "medium", "high", "xhigh"],
        (true, _) => &["none", "low", "medium", "high", "xhigh"],
        (_, true) if variant.starts_with("-codex-max") => &["low", "medium", "high", "xhigh"],
        (_, true) if variant.starts_with("-codex") => &["low", "medium", "high"],
        (_, true) => &["none", "low", "medium", "high"],
        _ if variant.starts_with("-pro") => &["high"],
        _ if variant.starts_with("-codex") => &["low", "medium", "high"],
        _ => &["minimal", "low", "medium", "high"],
    })
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
    fn a_models_name_says_which_efforts_it_takes() {
        for (kind, name, least, most) in [
            (Kind::Openai, "o3", "low", "high"),
            (Kind::Openai, "gpt-5-mini", "minimal", "high"),
            (Kind::Azure, "gpt-5-2025-08-07", "minimal", "high"),
            (Kind::Openai, "gpt-5-codex", "low", "high"),
            (Kind::Openai, "gpt-5-pro", "high", "high"),
            (Kind::Openai, "gpt-5.1", "none", "high"),
            (Kind::Openai, "gpt-5.1-codex-max", "low", "xhigh"),
            (Kind::Openai, "gpt-5.2", "none", "xhigh"),
            (Kind::Openai, "gpt-5.10", "none", "xhigh"),
            (Kind::Openai, "gpt-6", "none", "xhigh"),
            (Kind::Azure, "our-deployment", "none", "xhigh"),
            (Kind::Compatible, "openai/gpt-5-mini", "minimal", "high"),
            (Kind::Compatible, "gpt-oss:20b", "low", "high"),
            (Kind::Compatible, "qwen3", "none", "xhigh"),
            (Kind::Vertex, "google/gemini-2.5-pro", "minimal", "high"),
            (Kind::Gemini, "gemini-2.5-flash-lite", "none", "high"),
            (Kind::Anthropic, "claude-opus-4-6", "low", "max"),
            (Kind::Anthropic, "claude-sonnet-4-6", "low", "high"),
            (Kind::Bedrock, "us.anthropic.claude-opus-5-v1:0", "low", "max"),
        ] {
            let efforts = target(kind, name, None).efforts;
            assert_eq!((efforts.first(), efforts.last()), (Some(&least), Some(&most)), "{name}");
            assert!(efforts.iter().all(|effort| cofferdam_dialects::EFFORTS.contains(effort)));
        }
    }

    #[test]
    fn only_other_servers_take_what_openai_and_anthropic_do_not_know() {
        for (kind, name, unsigned, extras) in [
            (Kind::Openai, "gpt-5.2", false, false),
            (Kind::Azure, "a", false, false),
            (Kind::Anthropic, "claude-opus-5", false, false),
            (Kind::Bedrock, "anthropic.claude-opus-5", false, false),
            (Kind::Gemini, "gemini-3-pro", false, true),
            (Kind::Vertex, "google/gemini-3-pro", false, true),
            (Kind::Vertex, "deepseek-ai/deepseek-v3", true, true),
            (Kind::Compatible, "qwen3", true, true),
        ] {
            let target = target(kind, name, None);
            assert_eq!((target.unsigned, target.extras), (unsigned, extras), "{name}");
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
