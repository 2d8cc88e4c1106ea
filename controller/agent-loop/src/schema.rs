//! JSON Schema (2020-12, as far as answers of models need it): checks a value and says in words what is wrong. Bounded in time and
//! memory whatever schema and value are: references only within the schema, patterns that run in linear time, a budget of steps.
//! A word that changes what is valid and is not known here is refused, never ignored. `format` is an annotation.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use cofferdam_tasks::canonical;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

mod faults;
mod words;

pub(crate) use faults::Fault;
use faults::Faults;

/// The largest schema, in bytes, and its depth.
const MAX_SCHEMA_BYTES: usize = 64 << 10;
const MAX_DEPTH: usize = 64;
/// Schemas that one check may go through; a larger value is not valid.
const MAX_STEPS: usize = 200_000;
const MAX_PATTERNS: usize = 64;
const MAX_PATTERN_BYTES: usize = 1_000;
/// The size of a compiled pattern, in bytes.
const MAX_PATTERN_SIZE: usize = 256 << 10;

/// A schema that can be checked with.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    root: Value,
    patterns: HashMap<String, Regex>,
}

impl Schema {
    /// # Errors
    /// The place and the reason why it cannot be used.
    pub(crate) fn new(schema: &Value) -> Result<Self, String> {
        if !schema.is_object() {
            return Err("a schema is an object".to_owned());
        }
        if schema.to_string().len() > MAX_SCHEMA_BYTES {
            return Err(format!("a schema has at most {MAX_SCHEMA_BYTES} bytes"));
        }
        let mut this = Self { root: schema.clone(), patterns: HashMap::new() };
        this.read(schema, "#", 0)?;
        Ok(this)
    }

    /// Reads a schema at a place: all its words are known, and have values of the right kind.
    fn read(&mut self, schema: &Value, at: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("{at}: at most {MAX_DEPTH} levels"));
        }
        let map = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(map) => map,
            _ => return Err(format!("{at}: a schema is an object, true or false")),
        };
        for (word, value) in map {
            let at = format!("{at}/{word}");
            words::check(word, value).map_err(|why| format!("{at}: {why}"))?;
            match (word.as_str(), value) {
                ("pattern", Value::String(pattern)) => self.pattern(pattern).map_err(|why| format!("{at}: {why}"))?,
                ("$ref", Value::String(to)) => {
                    self.target(to).ok_or_else(|| format!("{at}: it leads to no place in this schema"))?;
                }
                ("patternProperties", Value::Object(map)) => {
                    for (pattern, schema) in map {
                        self.pattern(pattern).map_err(|why| format!("{at}: {why}"))?;
                        self.read(schema, &at, depth + 1)?;
                    }
                }
                (word, Value::Object(map)) if words::OF_NAMES.contains(&word) => {
                    for (name, schema) in map {
                        self.read(schema, &format!("{at}/{name}"), depth + 1)?;
                    }
                }
                (word, Value::Array(list)) if words::OF_LISTS.contains(&word) => {
                    for (number, schema) in list.iter().enumerate() {
                        self.read(schema, &format!("{at}/{number}"), depth + 1)?;
                    }
                }
                (word, value) if words::OF_ONE.contains(&word) => self.read(value, &at, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), String> {
        if self.patterns.contains_key(pattern) {
            return Ok(());
        }
        if self.patterns.len() >= MAX_PATTERNS || pattern.len() > MAX_PATTERN_BYTES {
            return Err(format!("at most {MAX_PATTERNS} patterns of {MAX_PATTERN_BYTES} bytes"));
        }
        let made = RegexBuilder::new(pattern).size_limit(MAX_PATTERN_SIZE).dfa_size_limit(MAX_PATTERN_SIZE).build();
        let made = made.map_err(|_| format!("the pattern {pattern:?} is too large, or has what is not supported"))?;
        self.patterns.insert(pattern.to_owned(), made);
        Ok(())
    }

    /// The place that a reference leads to.
    fn target(&self, to: &str) -> Option<&Value> {
        let pointer = to.strip_prefix('#')?;
        let decoded = pointer.replace("%24", "$").replace("%25", "%");
        self.root.pointer(&decoded).filter(|schema| schema.is_object() || schema.is_boolean())
    }

    /// The faults of a value; none if it is valid.
    pub(crate) fn check(&self, value: &Value) -> Vec<Fault> {
        let mut run = Run { schema: self, steps: 0, full: false };
        let mut faults = Faults::default();
        run.check(&self.root, value, 0, &mut faults);
        if run.full {
            faults.clear();
            faults.add("the value is too large or too deep to be checked".to_owned());
        }
        faults.all
    }
}

/// One check of a value.
struct Run<'a> {
    schema: &'a Schema,
    steps: usize,
    /// The bound was reached: nothing is known.
    full: bool,
}

impl Run<'_> {
    fn is_valid(&mut self, schema: &Value, value: &Value, depth: usize) -> bool {
        let mut faults = Faults::one();
        self.check(schema, value, depth, &mut faults);
        faults.all.is_empty()
    }

    fn check(&mut self, schema: &Value, value: &Value, depth: usize, faults: &mut Faults) {
        self.steps += 1;
        if self.steps > MAX_STEPS || depth > 2 * MAX_DEPTH {
            self.full = true;
        }
        if self.full || faults.is_full() {
            return;
        }
        let map = match schema {
            Value::Object(map) => map,
            Value::Bool(false) => return faults.add("nothing may be here".to_owned()),
            _ => return,
        };
        if let Some(to) = map.get("$ref").and_then(Value::as_str)
            && let Some(target) = self.schema.target(to)
        {
            self.check(target, value, depth + 1, faults);
        }
        words::check_kind(map, value, faults);
        if let Some(options) = map.get("enum").and_then(Value::as_array)
            && !options.iter().any(|option| equal(option, value))
        {
            let shown: Vec<String> = options.iter().take(20).map(Value::to_string).collect();
            faults.add(format!("expected one of {}", shown.join(", ")));
        }
        if let Some(only) = map.get("const")
            && !equal(only, value)
        {
            faults.add(format!("expected {only}"));
        }
        match value {
            Value::Object(fields) => self.object(map, fields, depth, faults),
            Value::Array(items) => self.array(map, items, depth, faults),
            Value::String(text) => self.text(map, text, faults),
            Value::Number(_) => words::check_number(map, value, faults),
            Value::Null | Value::Bool(_) => {}
        }
        self.alternatives(map, value, depth, faults);
    }

    fn alternatives(&mut self, map: &Map<String, Value>, value: &Value, depth: usize, faults: &mut Faults) {
        let list = |word: &str| map.get(word).and_then(Value::as_array);
        for schema in list("allOf").into_iter().flatten() {
            self.check(schema, value, depth + 1, faults);
        }
        if let Some(schemas) = list("anyOf")
            && !schemas.iter().any(|schema| self.is_valid(schema, value, depth + 1))
        {
            self.closest(schemas, value, depth, "it fits none of the alternatives", faults);
        }
        if let Some(schemas) = list("oneOf") {
            match schemas.iter().filter(|schema| self.is_valid(schema, value, depth + 1)).count() {
                1 => {}
                0 => self.closest(schemas, value, depth, "it fits none of the alternatives", faults),
                more => faults.add(format!("it fits {more} of the alternatives, and may fit only one")),
            }
        }
        if let Some(schema) = map.get("not")
            && self.is_valid(schema, value, depth + 1)
        {
            faults.add(format!("it may not fit {}", faults::short(schema)));
        }
        if let Some(schema) = map.get("if") {
            let word = if self.is_valid(schema, value, depth + 1) { "then" } else { "else" };
            if let Some(schema) = map.get(word) {
                self.check(schema, value, depth + 1, faults);
            }
        }
    }

    /// Says what is wrong with the alternative that fails at the fewest places.
    fn closest(&mut self, schemas: &[Value], value: &Value, depth: usize, says: &str, faults: &mut Faults) {
        let mut best: Option<Vec<Fault>> = None;
        for schema in schemas {
            let mut tried = faults.below();
            self.check(schema, value, depth + 1, &mut tried);
            if best.as_ref().is_none_or(|best| tried.all.len() < best.len()) {
                best = Some(tried.all);
            }
        }
        faults.add(says.to_owned());
        for fault in best.into_iter().flatten() {
            faults.take(fault);
        }
    }

    fn object(&mut self, map: &Map<String, Value>, fields: &Map<String, Value>, depth: usize, faults: &mut Faults) {
        words::check_count(map, "minProperties", "maxProperties", fields.len(), "fields", faults);
        for name in map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                faults.add(format!("the field {name:?} is missing"));
            }
        }
        let known = map.get("properties").and_then(Value::as_object);
        let patterns = map.get("patternProperties").and_then(Value::as_object);
        for (name, value) in fields {
            faults.enter(name);
            let mut is_known = false;
            if let Some(schema) = known.and_then(|known| known.get(name)) {
                is_known = true;
                self.check(schema, value, depth + 1, faults);
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.schema.patterns.get(pattern).is_some_and(|pattern| pattern.is_match(name)) {
                    is_known = true;
                    self.check(schema, value, depth + 1, faults);
                }
            }
            match map.get("additionalProperties") {
                Some(Value::Bool(false)) if !is_known => faults.add("this field is not known".to_owned()),
                Some(schema) if !is_known => self.check(schema, value, depth + 1, faults),
                _ => {}
            }
            faults.leave();
            if let Some(schema) = map.get("propertyNames")
                && !self.is_valid(schema, &Value::String(name.clone()), depth + 1)
            {
                faults.add(format!("no field may be named {name:?}"));
            }
        }
        for (name, needs) in map.get("dependentRequired").and_then(Value::as_object).into_iter().flatten() {
            let needs = needs.as_array().into_iter().flatten().filter_map(Value::as_str);
            for need in needs.filter(|need| fields.contains_key(name) && !fields.contains_key(*need)) {
                faults.add(format!("with {name:?} the field {need:?} is needed"));
            }
        }
        for (name, schema) in map.get("dependentSchemas").and_then(Value::as_object).into_iter().flatten() {
            if fields.contains_key(name) {
                self.check(schema, &Value::Object(fields.clone()), depth + 1, faults);
            }
        }
    }

    fn array(&mut self, map: &Map<String, Value>, items: &[Value], depth: usize, faults: &mut Faults) {
        words::check_count(map, "minItems", "maxItems", items.len(), "items", faults);
        let first = map.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (number, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(number).or_else(|| map.get("items")) {
                faults.enter(&number.to_string());
                self.check(schema, item, depth + 1, faults);
                faults.leave();
            }
        }
        if let Some(schema) = map.get("contains") {
            let found = items.iter().filter(|item| self.is_valid(schema, item, depth + 1)).count();
            let count = |word: &str| map.get(word).and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
            if found < count("minContains").unwrap_or(1) || count("maxContains").is_some_and(|most| found > most) {
                faults.add(format!("{found} items fit {}", faults::short(schema)));
            }
        }
        if map.get("uniqueItems") == Some(&Value::Bool(true)) {
            let mut seen = HashSet::new();
            if let Some(twice) = items.iter().position(|item| !seen.insert(canonical(item))) {
                faults.add(format!("item {twice} is there twice"));
            }
        }
    }

    fn text(&mut self, map: &Map<String, Value>, text: &str, faults: &mut Faults) {
        words::check_count(map, "minLength", "maxLength", text.chars().count(), "characters", faults);
        if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
            && !self.schema.patterns.get(pattern).is_some_and(|made| made.is_match(text))
        {
            faults.add(format!("expected text that fits the pattern {pattern}"));
        }
    }
}

/// Compares as JSON Schema does: 1 and 1.0 are the same number.
fn equal(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(_), Value::Number(_)) => words::compare(one, two) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| equal(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one.iter().all(|(name, value)| two.get(name).is_some_and(|other| equal(value, other)))
        }
        (one, two) => one == two,
    }
}

#[cfg(test)]
mod tests;
