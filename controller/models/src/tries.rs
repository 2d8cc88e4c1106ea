//! Tries the candidates of a call in turn: the next one when one fails, the same one again where that may help, with pauses.
//! Never tries again what the caller got wrong, and never waits longer than a caller would.

use std::time::Duration;

use cofferdam_dialects::Kind;
use cofferdam_upstreams::SendError;
use cofferdam_usage::Ending;
use tokio::time::Instant;

use crate::answer::{Answered, Trying};
use crate::failed::Failed;
use crate::meter::Meter;
use crate::name::Candidate;
use crate::prepare::Body;
use crate::refusal::Refusal;

/// Requests that one call sends at most.
const MAX_TRIES: u32 = 8;
/// Requests to one upstream, where there is no other candidate left.
const MAX_TRIES_OF_LAST: u32 = 3;
/// Requests to one upstream with several keys, while other candidates are left.
const MAX_TRIES_OF_ONE: u32 = 3;
/// The longest pause before another try. An upstream that asks for a longer one is left, and the caller is told.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The first pause before the same upstream is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Tries until one answers.
///
/// # Errors
/// The refusal that says most: of the last upstream that was asked.
pub(crate) async fn tries(
    trying: &Trying<'_>,
    candidates: &[Candidate],
    body: &mut Body<'_>,
    meter: &mut Option<Meter>,
    served: &mut Option<(Candidate, u32)>,
) -> Result<Answered, Refusal> {
    let mut last: Option<Failed> = None;
    let mut all = 0;
    for (number, candidate) in candidates.iter().enumerate() {
        let is_last = number + 1 == candidates.len();
        let most = if is_last { MAX_TRIES_OF_LAST } else { MAX_TRIES_OF_ONE };
        let mut pause = FIRST_PAUSE;
        for round in 1..=most {
            if let Err(closed) = candidate.ready() {
                let closed = SendError::Closed { retry_after: closed.retry_after, limited: closed.limited };
                let failed = Failed::send(&closed, candidate.upstream.name());
                let wait = failed.wait;
                // A failure that was seen says more than a door that is closed because of it.
                if last.is_none() {
                    last = Some(failed);
                }
                match wait.filter(|wait| is_last && round < most && *wait <= MAX_PAUSE) {
                    Some(wait) if fits(wait, trying.deadline) => tokio::time::sleep(wait).await,
                    _ => break,
                }
                continue;
            }
            if all == MAX_TRIES {
                break;
            }
            all += 1;
            let failed = match trying.once(candidate, body, meter).await {
                Ok(answered) => {
                    *served = Some((candidate.clone(), all));
                    return Ok(answered);
                }
                Err(failed) => failed,
            };
            *served = Some((candidate.clone(), all));
            if let Some(meter) = meter {
                meter.failed();
            }
            tracing::debug!(upstream = candidate.upstream.name(), why = failed.refusal.message, "a try failed");
            let (again, elsewhere, wait) = (failed.again, failed.elsewhere, failed.wait);
            let other_key = failed.other_key && candidate.ready().is_ok();
            last = Some(failed);
            if !elsewhere {
                return Err(refusal(last));
            }
            if other_key {
                continue;
            }
            if !again || !is_last || round == most {
                break;
            }
            // An upstream that asks for no pause gets one all the same.
            let wait = jittered(pause).max(wait.unwrap_or_default());
            pause = pause.saturating_mul(2);
            if wait > MAX_PAUSE || !fits(wait, trying.deadline) {
                break;
            }
            tokio::time::sleep(wait).await;
        }
    }
    Err(refusal(last))
}

fn fits(wait: Duration, deadline: Instant) -> bool {
    Instant::now() + wait < deadline
}

/// Between half and all of a pause, so that callers who failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let share = u32::try_from(cofferdam_core::random_bits().unwrap_or_default() % 1_000).unwrap_or_default();
    half + half.saturating_mul(share) / 1_000
}

fn refusal(last: Option<Failed>) -> Refusal {
    last.map_or_else(|| Refusal::new(Kind::Api, Ending::Error, "No upstream was asked."), |failed| *failed.refusal)
}
