//! Gives up uploads that are not continued, that take too long, or whose deployment is over.

use std::time::Duration;

use cofferdam_contract::FailureReason;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::session::Work;
use crate::state::{Progress, State};
use crate::{PushFailure, UploadLimits};

/// The longest time between questions to [`Work::wanted`].
const WANTED_INTERVAL: Duration = Duration::from_secs(10);
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// Watches an upload. Returns when it has to be given up.
pub(crate) async fn watch(state: &Mutex<State>, limits: &UploadLimits, work: &dyn Work) -> PushFailure {
    let start = Instant::now();
    // Shorter than it is waited for a client: elsewhere an upload without news counts as lost after that time.
    let interval = (limits.absence / 10).clamp(MIN_INTERVAL, WANTED_INTERVAL);
    loop {
        tokio::time::sleep(interval).await;
        let (offset, absent) = {
            let now = state.lock();
            (now.progress.offset, now.absent())
        };
        if !work.wanted(offset, absent).await {
            let detail = "The deployment is over, so its upload was given up.";
            return PushFailure::new(FailureReason::Superseded, detail);
        }
        let now = state.lock();
        let Progress { offset, .. } = now.progress;
        if start.elapsed() >= limits.whole {
            let seconds = limits.whole.as_secs();
            let detail = format!("The upload did not finish within {seconds} s; {offset} bytes were received.");
            return PushFailure::new(FailureReason::UploadLost, detail);
        }
        if now.absent() >= limits.absence.max(MIN_INTERVAL) {
            let seconds = limits.absence.as_secs();
            let detail = format!("The upload stopped after {offset} bytes and was not continued within {seconds} s.");
            return PushFailure::new(FailureReason::UploadLost, detail);
        }
    }
}
