//! The prices of names as callers write them: of the model that would be tried first.

use cofferdam_contract::{OrganizationId, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::Settings;
use super::error::Error;
use super::price::PriceSpec;
use crate::name::candidates;

/// The most names of one question.
const MAX_NAMES: usize = 100;

/// The price of a name that callers may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelCost {
    /// The name that was asked about.
    pub model: String,
    /// `UPSTREAM/MODEL` that would be tried first, with the weights of an alias left aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
    /// None if no price is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceSpec>,
}

impl Settings {
    /// The prices of names, in their order.
    ///
    /// # Errors
    /// [`Problem::invalid`] for too many names, or the store failed.
    pub async fn costs(&self, organization: &OrganizationId, names: &[&str]) -> Result<Vec<ModelCost>, Error> {
        if names.len() > MAX_NAMES {
            return Err(Problem::invalid(format!("models: at most {MAX_NAMES} names at once")).into());
        }
        let catalogue = self.of(organization).await?;
        let cost = |name: &&str| {
            let first = candidates(&catalogue, name, &mut |_| 0).into_iter().next();
            ModelCost {
                model: (*name).to_owned(),
                price: first
                    .as_ref()
                    .and_then(|first| catalogue.prices.get(first.upstream.name(), &first.model))
                    .cloned(),
                served_by: first.map(|first| first.full()),
            }
        };
        Ok(names.iter().map(cost).collect())
    }
}
