//! Approval rules: what is done with a tool call that the model asks for. Pure.
//!
//! Doubt never loosens a rule. A rule that asks or denies also matches what only looks like its pattern (other case, letters of
//! other scripts, invisible characters, one element of a list, a number written as text); a rule that allows matches what is
//! written, in whole, and believes no server about itself. Never makes a call and never asks anybody.

use std::borrow::Cow;

use cofferdam_contract::text::is_invisible;
use cofferdam_contract::work::{ApprovalRule, Effect, OnTimeout};
use cofferdam_tasks::canonical;
use cofferdam_usage::matches;
use serde_json::Value;

/// Seconds that a person has where the rule does not say, and the most that it may say.
const DEFAULT_TIMEOUT_S: u64 = 24 * 3_600;
const MAX_TIMEOUT_S: u64 = 30 * 24 * 3_600;
/// Parts of one argument that are looked at. An argument with more matches every rule that asks or denies, and none that allows.
const MAX_LEAVES: usize = 10_000;

/// A call as the rules see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    /// The name that the model is offered.
    pub offered: &'a str,
    /// Names that the organization gave: `mcp:CONNECTOR`, `agent:ID`, `TOOL-FUNCTION`.
    pub given: &'a [String],
    /// A server's own name for the tool. It can choose any, so it counts only for rules that ask or deny.
    pub claimed: Option<&'a str>,
    pub arguments: &'a Value,
    pub destructive: bool,
    /// The server says so itself, and nothing proves it.
    pub claimed_by_server: bool,
}

/// The judgement on a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judgement<'a> {
    pub effect: Effect,
    /// The rule that decided; none if no rule matches.
    pub rule: Option<&'a ApprovalRule>,
}

impl Judgement<'_> {
    /// Milliseconds that a person has.
    pub(crate) fn timeout_ms(&self) -> i64 {
        let seconds = self.rule.and_then(|rule| rule.timeout_s).unwrap_or(DEFAULT_TIMEOUT_S).clamp(1, MAX_TIMEOUT_S);
        i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    pub(crate) fn on_timeout(&self) -> OnTimeout {
        self.rule.map(|rule| rule.on_timeout).unwrap_or_default()
    }

    /// The words for the person, or for the model that is refused.
    pub(crate) fn message(&self) -> Option<&str> {
        self.rule.and_then(|rule| rule.message.as_deref())
    }
}

/// The first rule that matches decides; a call that none matches is made.
pub(crate) fn judge<'a>(rules: &'a [ApprovalRule], call: &Judged<'_>) -> Judgement<'a> {
    let rule = rules.iter().find(|rule| fits(rule, call));
    Judgement { effect: rule.map_or(Effect::Allow, |rule| rule.effect), rule }
}

fn fits(rule: &ApprovalRule, call: &Judged<'_>) -> bool {
    let strict = rule.effect == Effect::Allow;
    let name = rule.tool.as_deref().is_none_or(|pattern| names(pattern, call, strict));
    let destructive = rule.destructive.is_none_or(|wanted| match (call.claimed_by_server, strict) {
        (false, _) => wanted == call.destructive,
        // For all that is known it is destructive, or it is not: what asks or denies matches either way.
        (true, true) => wanted,
        (true, false) => true,
    });
    let mut arguments = rule.arguments.iter();
    name && destructive && arguments.all(|(pointer, pattern)| argument(pointer, pattern, call.arguments, strict))
}

fn names(pattern: &str, call: &Judged<'_>, strict: bool) -> bool {
    let given = std::iter::once(call.offered).chain(call.given.iter().map(String::as_str));
    match strict {
        true => given.into_iter().any(|name| matches(pattern, name)),
        false => {
            let pattern = folded(pattern);
            given.chain(call.claimed).any(|name| matches(&pattern, &folded(name)))
        }
    }
}

/// A pointer to nothing matches no pattern: an argument that is not there has no value.
fn argument(pointer: &str, pattern: &str, arguments: &Value, strict: bool) -> bool {
    let Some(value) = arguments.pointer(pointer) else { return false };
    let mut leaves = Vec::new();
    let whole = collect(value, &mut leaves, 0);
    if strict {
        return whole && !leaves.is_empty() && leaves.iter().all(|leaf| matches(pattern, &text(leaf)));
    }
    let wanted = folded(pattern);
    let seen = |text: &str| matches(&wanted, &folded(text)) || matches(&wanted, folded(text).trim());
    let leaf = |leaf: &&Value| seen(&text(leaf)) || number(leaf).is_some_and(|number| seen(&number));
    !whole || leaves.iter().any(leaf) || (value.is_array() || value.is_object()) && seen(&canonical(value))
}

/// The values within a value that are neither lists nor objects. False: there are too many.
fn collect<'a>(value: &'a Value, leaves: &mut Vec<&'a Value>, depth: usize) -> bool {
    if leaves.len() >= MAX_LEAVES || depth > 128 {
        return false;
    }
    match value {
        Value::Array(items) => items.iter().all(|item| collect(item, leaves, depth + 1)),
        Value::Object(fields) => fields.values().all(|field| collect(field, leaves, depth + 1)),
        leaf => {
            leaves.push(leaf);
            true
        }
    }
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A number in its plain form, also where it is written as text: `5`, `5.0`, `"5e0"` are all `5`.
fn number(value: &Value) -> Option<String> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    number.is_finite().then(|| number.to_string())
}

/// A text as a hurried reader sees it: lower case, without what is invisible, with look-alikes as Latin letters.
fn folded(text: &str) -> String {
    let seen = text.chars().filter(|c| !is_invisible(*c));
    seen.flat_map(char::to_lowercase).filter(|c| !is_mark(*c)).map(plain).collect()
}

/// Combining marks that `to_lowercase` leaves behind or that are set over a letter.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36f)
}

/// The Latin letter or the sign that a character is taken for.
fn plain(c: char) -> char {
    let code = u32::from(c);
    match c {
        // Full width forms.
        _ if (0xff01..=0xff5e).contains(&code) => {
            char::from_u32(code - 0xfee0).map_or(c, |plain| plain.to_ascii_lowercase())
        }
        // Mathematical letters: alphabets of 52 from 1d400 on.
        _ if (0x1d400..=0x1d6a3).contains(&code) => {
            let at = u8::try_from((code - 0x1d400) % 26).unwrap_or(0);
            char::from(b'a' + at)
        }
        '\u{430}' | '\u{3b1}' | '\u{251}' => 'a',
        '\u{432}' | '\u{3b2}' => 'b',
        '\u{441}' | '\u{3f2}' => 'c',
        '\u{501}' => 'd',
        '\u{435}' | '\u{3b5}' | '\u{454}' => 'e',
        '\u{261}' => 'g',
        '\u{43d}' | '\u{4bb}' => 'h',
        '\u{456}' | '\u{3b9}' | '\u{131}' => 'i',
        '\u{458}' => 'j',
        '\u{43a}' | '\u{3ba}' => 'k',
        '\u{4cf}' | '\u{2113}' => 'l',
        '\u{43c}' | '\u{3bc}' => 'm',
        '\u{3b7}' | '\u{578}' => 'n',
        '\u{43e}' | '\u{3bf}' | '\u{585}' | '\u{3c3}' => 'o',
        '\u{440}' | '\u{3c1}' => 'p',
        '\u{51b}' => 'q',
        '\u{433}' => 'r',
        '\u{455}' => 's',
        '\u{442}' | '\u{3c4}' => 't',
        '\u{3c5}' | '\u{57d}' => 'u',
        '\u{3bd}' | '\u{475}' => 'v',
        '\u{51d}' | '\u{3c9}' => 'w',
        '\u{445}' | '\u{3c7}' => 'x',
        '\u{443}' | '\u{3b3}' => 'y',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2044}' | '\u{2215}' => '/',
        '\u{2024}' | '\u{3002}' => '.',
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => ' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        says: String,
        rules: Vec<ApprovalRule>,
        tool: Tool,
        arguments: Value,
        expect: Effect,
    }

    #[derive(Deserialize)]
    struct Tool {
        offered: String,
        #[serde(default)]
        given: Vec<String>,
        #[serde(default)]
        claimed: Option<String>,
        #[serde(default)]
        harmless: bool,
        #[serde(default)]
        server: bool,
    }

    #[test]
    fn the_cases() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("approval_cases.json")).unwrap();
        assert!(cases.len() > 40);
        for case in &cases {
            let call = Judged {
                offered: &case.tool.offered,
                given: &case.tool.given,
                claimed: case.tool.claimed.as_deref(),
                arguments: &case.arguments,
                destructive: !case.tool.harmless,
                claimed_by_server: case.tool.server,
            };
            assert_eq!(judge(&case.rules, &call).effect, case.expect, "{}", case.says);
        }
    }

    #[test]
    fn a_person_has_a_bounded_time() {
        let rule = |timeout_s| ApprovalRule { timeout_s, ..ApprovalRule::default() };
        for (asked, given) in
            [(None, 86_400_000), (Some(0), 1_000), (Some(60), 60_000), (Some(u64::MAX), 2_592_000_000)]
        {
            let rule = rule(asked);
            assert_eq!(Judgement { effect: Effect::Ask, rule: Some(&rule) }.timeout_ms(), given);
        }
    }

    #[test]
    fn an_argument_of_many_parts_is_in_doubt() {
        let many = serde_json::json!({ "to": vec!["a"; MAX_LEAVES + 1] });
        let rule = |effect| ApprovalRule {
            arguments: [("/to".to_owned(), "a".to_owned())].into(),
            effect,
            ..ApprovalRule::default()
        };
        let judged = Judged {
            offered: "t",
            given: &[],
            claimed: None,
            arguments: &many,
            destructive: true,
            claimed_by_server: false,
        };
        assert_eq!(judge(&[rule(Effect::Deny)], &judged).effect, Effect::Deny);
        assert!(judge(&[rule(Effect::Allow)], &judged).rule.is_none());
    }

    /// Approvals are stored by digest: a change of these would undo those that wait.
    #[test]
    fn digests_stay_as_they_are() {
        let cases: Value = serde_json::from_str(include_str!("digest_cases.json")).unwrap();
        for case in cases.as_array().unwrap() {
            assert_eq!(canonical(&case["arguments"]), case["canonical"].as_str().unwrap());
            let digest = cofferdam_tasks::digest(case["tool"].as_str().unwrap(), &case["arguments"]);
            assert_eq!(digest, case["digest"].as_str().unwrap(), "{case}");
        }
    }
}
