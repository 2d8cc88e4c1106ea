//! Says where credentials came from, for the error of a registry that refused them. Never shows one.

use super::{Found, Missing, Searched, Source};
use crate::shown::sentence;

const VARIABLES: &str = "COFFERDAM_REGISTRY_USERNAME and COFFERDAM_REGISTRY_PASSWORD";

impl Found {
    /// A sentence without its full stop: the origin of the credentials for `registry`, or the places that have none.
    pub fn explain(&self, registry: &str) -> String {
        match &self.source {
            Source::Variables => format!("The credentials were those of {VARIABLES}"),
            Source::File { path, key } => {
                format!("The credentials were those of `{}` in {}", short(key), path.display())
            }
            Source::Nowhere(searched) => nowhere(registry, searched),
        }
    }
}

fn nowhere(registry: &str, searched: &[Searched]) -> String {
    let places = searched.iter().map(|Searched { path, why }| {
        let why = match why {
            Missing::NoFile => "no such file".to_owned(),
            Missing::Unreadable => "may not be read".to_owned(),
            Missing::NoEntry => format!("no entry for {registry}"),
            Missing::Unusable(key) => format!("its entry `{}` has no valid name and password", short(key)),
            Missing::Helper(helper) => format!("leaves it to {}", short(helper)),
        };
        format!("{} ({why})", path.display())
    });
    let places: Vec<String> = places.collect();
    let mut text = format!("No credentials for {registry} were found, neither in {VARIABLES}");
    for place in places {
        text.push_str(&format!(" nor in {place}"));
    }
    let helper = searched.iter().any(|place| matches!(place.why, Missing::Helper(_)));
    text.push_str(if helper {
        ". Cofferdam does not run credential helpers: set the two variables"
    } else {
        ". Set the two variables, or run `docker login` or `podman login`"
    });
    text
}

/// A text of a file, fit for one line.
fn short(text: &str) -> String {
    sentence(text, std::iter::empty()).unwrap_or_default()
}
