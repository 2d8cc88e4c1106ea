//! Budgets as they are written down: whose, of which unit, how much in which window of time. Never counts.

use cofferdam_contract::OrganizationId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::money::nanos;
use crate::record::{Amounts, Who};

/// The most requests or tokens that a limit may say.
const MAX_COUNT: u64 = 1_000_000_000_000_000;
/// The most patterns of models in a budget.
const MAX_PATTERNS: usize = 100;
/// The longest name or pattern, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The unit that a budget counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Requests,
    Tokens,
    Money,
}

impl Unit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Money => "money",
        }
    }

    /// Writes an amount of this unit for people: money in dollars.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Requests | Self::Tokens => amount.to_string(),
            Self::Money => crate::money::dollars(amount),
        }
    }
}

/// The time after which a budget is full again. Windows are aligned to UTC; a task's lasts as long as the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    Minute,
    Day,
    Month,
    Task,
}

impl Window {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
            Self::Task => "task",
        }
    }
}

/// Those who share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    Organization,
    Key,
    Agent,
    Task,
}

impl Per {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Key => "key",
            Self::Agent => "agent",
            Self::Task => "task",
        }
    }
}

/// A limit as it was written: a whole number, or a decimal text for dollars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit(String);

impl Limit {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The limit in its unit; money in nano-dollars.
    ///
    /// # Errors
    /// A sentence that says which form is expected.
    pub fn amount(&self, unit: Unit) -> Result<u64, String> {
        match unit {
            Unit::Money => nanos(&self.0),
            Unit::Requests | Unit::Tokens => {
                let whole = self.0.strip_suffix(".0").unwrap_or(&self.0);
                let amount = whole.parse().ok().filter(|amount| *amount <= MAX_COUNT && !whole.starts_with('+'));
                amount.ok_or_else(|| format!("{:?} is no whole number up to {MAX_COUNT}", cut(&self.0, 40)))
            }
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<u64>() {
            Ok(whole) if whole <= MAX_COUNT && whole.to_string() == self.0 => serializer.serialize_u64(whole),
            _ => serializer.serialize_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number, or a decimal text such as \"12.50\"")]
        enum Written {
            Whole(u64),
            Fraction(f64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Whole(whole) => whole.to_string(),
            Written::Fraction(fraction) => fraction.to_string(),
            Written::Text(text) => text,
        };
        if text.len() > 64 {
            return Err(serde::de::Error::custom("a limit has at most 64 characters"));
        }
        Ok(Self(text))
    }
}

impl utoipa::PartialSchema for Limit {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::Number))
            .item(ObjectBuilder::new().schema_type(Type::String))
            .description(Some("A number, or a decimal text such as 12.50"))
            .into()
    }
}

impl ToSchema for Limit {}

/// A budget: at most `limit` of `unit` in each `window`, for each of `per`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    pub per: Per,
    /// The key's id, or the agent's or task's name. Without it each has a budget of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    pub unit: Unit,
    /// Requests, tokens, or US dollars as a decimal text such as `"12.50"`.
    pub limit: Limit,
    pub window: Window,
    /// Patterns with `*` of models asked for or served; without them all models count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
}

impl BudgetSpec {
    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        self.limit.amount(self.unit).map_err(|why| format!("limit: {why}"))?;
        if self.window == Window::Task && self.per != Per::Task {
            return Err("window: `task` needs `per: task`".to_owned());
        }
        let plain =
            |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
        if let Some(only) = &self.only {
            if self.per == Per::Organization {
                return Err("only: a budget of the organization has no `only`".to_owned());
            }
            if !plain(only) {
                return Err(format!("only: 1 to {MAX_NAME_BYTES} characters are allowed, and no control characters"));
            }
        }
        if let Some(models) = &self.models {
            if models.is_empty() || models.len() > MAX_PATTERNS {
                return Err(format!("models: 1 to {MAX_PATTERNS} patterns are allowed; leave it out for all models"));
            }
            if let Some(number) = models.iter().position(|pattern| !plain(pattern)) {
                return Err(format!("models[{number}]: 1 to {MAX_NAME_BYTES} characters are allowed"));
            }
        }
        Ok(())
    }

    /// The one whose account a call goes to; `None` if the budget does not count the call.
    pub(crate) fn subject<'a>(&self, who: &'a Who, models: &[&str]) -> Option<&'a str> {
        let subject = match self.per {
            Per::Organization => "",
            Per::Key => &who.key,
            Per::Agent => who.agent.as_deref()?,
            Per::Task => who.task.as_deref()?,
        };
        if self.only.as_deref().is_some_and(|only| only != subject) {
            return None;
        }
        let counts =
            |patterns: &Vec<String>| patterns.iter().any(|pattern| models.iter().any(|model| matches(pattern, model)));
        self.models.as_ref().is_none_or(counts).then_some(subject)
    }

    /// The amount of the budget's unit. A call is one request, and never no token.
    pub(crate) fn take(&self, most: Amounts) -> u64 {
        match self.unit {
            Unit::Requests => most.requests.max(1),
            Unit::Tokens => most.tokens.max(1),
            Unit::Money => most.money,
        }
    }
}

/// A budget of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub name: String,
    pub organization: OrganizationId,
    pub spec: BudgetSpec,
}

impl Budget {
    /// Returns true if a call counts for it. `models`: the names that it is asked for and served as.
    pub fn counts(&self, who: &Who, models: &[&str]) -> bool {
        self.spec.subject(who, models).is_some()
    }
}

/// Returns true if the text fits the pattern, in which `*` stands for any characters.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The first `most` bytes of a text, or less where a character would be cut.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = text.floor_char_boundary(most);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Result<BudgetSpec, String> {
        let spec: BudgetSpec = serde_json::from_str(json).map_err(|error| error.to_string())?;
        spec.check().map(|()| spec)
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("gpt-5*", "gpt-5.2", true),
            ("gpt-5*", "xgpt-5", false),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-x", false),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "ac", false),
            ("ab", "ab", true),
            ("ab", "abc", false),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn specs_are_checked() {
        let good = spec(r#"{"per":"key","unit":"money","limit":12.5,"window":"day"}"#).unwrap();
        assert_eq!(good.limit.amount(Unit::Money), Ok(12_500_000_000));
        let text = r#"{"per":"agent","only":"a","unit":"money","limit":"12.50","window":"day","models":["gpt*"]}"#;
        assert_eq!(serde_json::to_string(&spec(text).unwrap()).unwrap(), text);
        let number = r#"{"per":"organization","unit":"tokens","limit":1000,"window":"month"}"#;
        assert_eq!(serde_json::to_string(&spec(number).unwrap()).unwrap(), number);
        for (bad, why) in [
            (r#"{"per":"key","unit":"tokens","limit":"1.5","window":"day"}"#, "limit"),
            (r#"{"per":"key","unit":"tokens","limit":-1,"window":"day"}"#, "limit"),
            (r#"{"per":"key","unit":"tokens","limit":1,"window":"task"}"#, "window"),
            (r#"{"per":"organization","only":"x","unit":"tokens","limit":1,"window":"day"}"#, "only"),
            (r#"{"per":"key","only":"","unit":"tokens","limit":1,"window":"day"}"#, "only"),
            (r#"{"per":"key","unit":"tokens","limit":1,"window":"day","models":[]}"#, "models"),
            (r#"{"per":"key","unit":"tokens","limit":1,"window":"day","x":1}"#, "unknown field"),
            (r#"{"per":"key","unit":"money","limit":1e300,"window":"day"}"#, "limit"),
        ] {
            let said = spec(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }
}
