//! The grants of a run: those that the run or its session asks for, as far as the operator allows them. A run that asks
//! for a grant of which nothing is allowed is refused at its start, so that it does not fail halfway.

use std::time::{Duration, Instant};

use cofferdam_contract::{Grants, Limits, Problem, SessionId};
use cofferdam_core::Caller;
use cofferdam_gateway::{Admitted, Pass};
use cofferdam_policy::{check_grants, check_snippet_grants, effective, one_by_one};

use crate::{Error, Sandboxes};

/// The longest time in the worker's queue, before a run's own time begins.
const MAX_QUEUE_TIME: Duration = Duration::from_secs(60);

/// Refuses grants that are invalid or that no snippet can have.
///
/// # Errors
/// [`Problem::invalid`] that names the grant.
pub(crate) fn check(grants: &Grants) -> Result<(), Problem> {
    if grants.is_empty() {
        return Ok(());
    }
    check_grants(grants).map_err(|e| Problem::invalid(format!("grants: {e}")))?;
    check_snippet_grants(grants).map_err(|e| Problem::invalid(format!("grants.{e}.")))
}

impl Sandboxes {
    /// The part of checked grants that the operator allows.
    ///
    /// # Errors
    /// [`Problem::denied`] if nothing of one of them is allowed.
    pub(crate) fn allowed(&self, asked: &Grants) -> Result<Grants, Error> {
        if asked.is_empty() {
            return Ok(Grants::default());
        }
        for grant in one_by_one(asked) {
            let (left, notes) = effective(&grant, &self.policy);
            if left.is_empty() {
                let why = notes.first().map_or_else(String::new, |note| format!("{} ({})", note.detail, note.by));
                return Err(Problem::denied(format!("grants: {why}.")).into());
            }
        }
        Ok(effective(asked, &self.policy).0)
    }

    /// Admits a run at the gateway, for as long as the returned value lives.
    ///
    /// # Errors
    /// As [`Self::allowed`].
    pub(crate) fn admit(
        &self,
        caller: &Caller,
        asked: &Grants,
        session: Option<&SessionId>,
        limits: &Limits,
    ) -> Result<Admitted, Error> {
        if asked.is_empty() {
            return Ok(Admitted::default());
        }
        let wall = Duration::from_millis(limits.wall_ms);
        Ok(self.gateway.admit(Pass {
            caller: caller.clone(),
            tool: None,
            session: session.cloned(),
            grants: self.allowed(asked)?,
            depth: 0,
            // Twice: a run in a session may wait for the one before it.
            deadline: Instant::now() + wall * 2 + MAX_QUEUE_TIME,
        })?)
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::{HttpGrant, KeyValueGrant, SecretGrant};

    use super::*;

    #[test]
    fn grants_of_tools_are_refused_by_name() {
        assert!(check(&Grants::default()).is_ok());
        let keyvalue = Some(KeyValueGrant { max_bytes: 1, max_keys: 1 });
        let problem = check(&Grants { keyvalue, ..Grants::default() }).unwrap_err();
        assert!(problem.detail.contains("grants.keyvalue"), "{problem:?}");
        let http = |host: &str| HttpGrant {
            host: host.to_owned(),
            methods: None,
            body_methods: Vec::new(),
            path_prefix: None,
            max_request_bytes: None,
            max_response_bytes: None,
            timeout_ms: None,
        };
        assert!(check(&Grants { http: vec![http("a b")], ..Grants::default() }).is_err());
        let secret = SecretGrant { name: "K".to_owned(), env: None };
        let grants = Grants { http: vec![http("a.example")], secrets: vec![secret], ..Grants::default() };
        assert!(check(&grants).is_ok());
        let alone: Vec<_> = one_by_one(&grants).map(|one| (one.http.len(), one.secrets.len())).collect();
        assert_eq!(alone, [(1, 0), (0, 1)]);
    }
}
