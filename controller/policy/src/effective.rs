//! The intersection of the requested grants and the operator's policy. It never grants more than either.

use cofferdam_contract::Grants;

use crate::capabilities::{self, Limited, Notes};
use crate::operator::OperatorPolicy;

/// The intersection, and everything it lacks. `asked` has passed [`check::grants`](crate::check::grants).
pub fn effective(asked: &Grants, operator: &OperatorPolicy) -> (Grants, Vec<Limited>) {
    let (mut left, mut notes) = (Grants::default(), Notes::default());
    for capability in capabilities::all() {
        capability.narrow(asked, operator, &mut left, &mut notes);
    }
    (left, notes.into_list())
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
