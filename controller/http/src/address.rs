//! Refuses addresses with a NUL character: no database can look it up, and nothing has such a name.

use cofferdam_contract::Problem;
use http::Uri;

/// Characters of a parameter's name that a client is shown.
const MAX_SHOWN: usize = 80;

/// Refuses an address with a NUL character.
///
/// # Errors
/// [`Problem::not_found`] for one in the path, [`Problem::malformed`] that names the parameter for one in the query.
pub fn refuse_nul_in(uri: &Uri) -> Result<(), Problem> {
    let escaped = |text: &str| text.contains("%00");
    if escaped(uri.path()) {
        return Err(Problem::not_found("The address has a NUL character, and nothing has one in its name."));
    }
    match uri.query().and_then(|query| query.split('&').find(|part| escaped(part))) {
        Some(part) => {
            let name: String = part.split(['=', '%']).next().unwrap_or_default().chars().take(MAX_SHOWN).collect();
            let detail = format!("`{name}` in the query has a NUL character, which no text here may have.");
            Err(Problem::malformed(detail))
        }
        None => Ok(()),
    }
}
