//! Aliases: a name for a chain of upstream models. The first step is tried first; within a step, the weights decide.
//!
//! Never knows which upstreams exist: `change.rs` compares.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::pattern::check_model;

/// The most steps of a chain.
const MAX_STEPS: usize = 8;
/// The most models of a step.
const MAX_CHOICES: usize = 8;
const MAX_WEIGHT: u32 = 1_000;

/// A name for a chain of upstream models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasSpec {
    /// The steps, each tried when the ones before it failed.
    #[schema(min_items = 1, max_items = 8, value_type = Vec<StepShape>)]
    pub chain: Vec<Step>,
}

/// The models of one step. JSON: a model, or a list of them; calls are divided by weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step(pub Vec<Choice>);

/// A model. JSON: `UPSTREAM/MODEL` as a text, or an object with a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// `UPSTREAM/MODEL`, or a model that an upstream lists.
    pub model: String,
    /// 1 to 1000; the share of the step's calls. 1 if it is left out.
    pub weight: u32,
}

/// A step: a model, or a list of them, among which calls are divided by weight.
#[derive(ToSchema)]
#[schema(as = ModelAliasStep)]
#[serde(untagged)]
#[allow(dead_code)] // For the document of the API only.
enum StepShape {
    One(ChoiceShape),
    Several(Vec<ChoiceShape>),
}

/// A model: `UPSTREAM/MODEL`, a model that an upstream lists, or an object with a weight.
#[derive(ToSchema)]
#[schema(as = ModelAliasChoice)]
#[serde(untagged)]
#[allow(dead_code)] // For the document of the API only.
enum ChoiceShape {
    Name(String),
    Weighted(Weighted),
}

impl Step {
    pub fn models(&self) -> impl Iterator<Item = &Choice> {
        self.0.iter()
    }
}

impl AliasSpec {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.chain.is_empty() || self.chain.len() > MAX_STEPS {
            return Err(format!("chain: 1 to {MAX_STEPS} steps, each a model or a list of models"));
        }
        for (at, step) in self.chain.iter().enumerate() {
            if step.0.is_empty() || step.0.len() > MAX_CHOICES {
                return Err(format!("chain[{at}]: 1 to {MAX_CHOICES} models"));
            }
            for (number, choice) in step.0.iter().enumerate() {
                check_model(&format!("chain[{at}][{number}].model"), &choice.model, false)?;
                if choice.weight == 0 || choice.weight > MAX_WEIGHT {
                    return Err(format!("chain[{at}][{number}].weight: 1 to {MAX_WEIGHT}"));
                }
            }
        }
        Ok(())
    }

    /// Every model of the chain with its place in it.
    pub(super) fn models(&self) -> impl Iterator<Item = (usize, &str)> {
        self.chain
            .iter()
            .enumerate()
            .flat_map(|(at, step)| step.0.iter().map(move |choice| (at, choice.model.as_str())))
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl Serialize for Choice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.weight == 1 {
            return serializer.serialize_str(&self.model);
        }
        let mut fields = serializer.serialize_struct("Choice", 2)?;
        fields.serialize_field("model", &self.model)?;
        fields.serialize_field("weight", &self.weight)?;
        fields.end()
    }
}

/// A model with its share of the step's calls.
#[derive(Deserialize, ToSchema)]
#[schema(as = ModelAliasWeighted)]
#[serde(deny_unknown_fields)]
struct Weighted {
    #[schema(example = "openai/gpt-5.2")]
    model: String,
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000)]
    weight: u32,
}

const fn one() -> u32 {
    1
}

impl From<Weighted> for Choice {
    fn from(Weighted { model, weight }: Weighted) -> Self {
        Self { model, weight }
    }
}

struct OneModel;

impl<'de> Visitor<'de> for OneModel {
    type Value = Choice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a model such as \"openai/gpt-5.2\", or {\"model\": ..., \"weight\": ...}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Choice, E> {
        Ok(Choice { model: text.to_owned(), weight: 1 })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Choice, A::Error> {
        Weighted::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Choice::from)
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneModel)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Models;
        impl<'de> Visitor<'de> for Models {
            type Value = Step;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model such as \"openai/gpt-5.2\", or a list of models")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Step, E> {
                OneModel.visit_str(text).map(|choice| Step(vec![choice]))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step, A::Error> {
                OneModel.visit_map(map).map(|choice| Step(vec![choice]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Step, A::Error> {
                let mut step = Vec::new();
                while let Some(choice) = list.next_element()? {
                    step.push(choice);
                }
                Ok(Step(step))
            }
        }
        deserializer.deserialize_any(Models)
    }
}
