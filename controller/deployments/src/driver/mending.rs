//! Restorations of what was deleted or changed by hand: when they are looked for, and when they are told. Everything is
//! restored whenever it is looked for; telling backs off, so that a program or person who changes it again each time
//! neither fills the version's events nor goes unnoticed. Pure but for the clock it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_cluster::Mended;
use tokio::time::Instant;

/// The longest wait between two events, in multiples of the interval at which restorations are looked for.
const MAX_WAIT: u32 = 20;
/// The same for a version that has used up half of its events.
const MAX_LATE_WAIT: u32 = 2_880;
/// After this time without a restoration, in the same multiples, the next one is told at once.
const QUIET: u32 = 120;

/// One version's restorations, as a keeper remembers them.
#[derive(Debug, Clone, Default)]
pub(super) struct Mending {
    looked_at: Option<Instant>,
    restored_at: Option<Instant>,
    told_at: Option<Instant>,
    /// The wait before the next event, in multiples of the interval.
    wait: u32,
    /// Restorations that were not told, by kind and by what was done to the object.
    untold: BTreeMap<(&'static str, bool), u64>,
}

impl Mending {
    /// It is time to look for what has to be restored.
    pub(super) fn is_due(&self, interval: Duration, now: Instant) -> bool {
        self.looked_at.is_none_or(|before| now.saturating_duration_since(before) >= interval)
    }

    pub(super) fn looked(&mut self, now: Instant) {
        self.looked_at = Some(now);
    }

    /// Notes what was restored, which may be nothing. Returns what is to be told now. `late` says that the version has used
    /// up half of its events.
    pub(super) fn note(&mut self, mended: &[Mended], interval: Duration, late: bool, now: Instant) -> Vec<String> {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        if since(self.restored_at).is_some_and(|quiet| quiet >= interval * QUIET) {
            self.wait = 0;
        }
        for Mended { kind, was_missing } in mended {
            *self.untold.entry((*kind, *was_missing)).or_default() += 1;
            self.restored_at = Some(now);
        }
        let due = since(self.told_at).is_none_or(|told| told >= interval * self.wait);
        if self.untold.is_empty() || !due {
            return Vec::new();
        }
        let over = since(self.told_at).unwrap_or_default();
        let most = if late { MAX_LATE_WAIT } else { MAX_WAIT };
        self.wait = self.wait.saturating_mul(2).clamp(1, most);
        self.told_at = Some(now);
        std::mem::take(&mut self.untold).into_iter().map(|(what, times)| sentence(what, times, over)).collect()
    }
}

fn sentence((kind, was_missing): (&str, bool), times: u64, over: Duration) -> String {
    let how = if was_missing { "deleted" } else { "changed" };
    if times == 1 {
        return format!("The {kind} was {how} outside Cofferdam, and was restored.");
    }
    let over = over.as_secs();
    format!("The {kind} was {how} outside Cofferdam {times} times within {over} s, and was restored each time.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn secret() -> Mended {
        Mended { kind: "Secret", was_missing: false }
    }

    /// The seconds at which something was told while a Secret was changed before every look for this long.
    fn fight(mending: &mut Mending, begun: Instant, from: u64, until: u64, late: bool) -> Vec<(u64, Vec<String>)> {
        let looks = (from..until).step_by(30);
        let told = looks.map(|at| (at, mending.note(&[secret()], INTERVAL, late, begun + Duration::from_secs(at))));
        told.filter(|(_, told)| !told.is_empty()).collect()
    }

    #[test]
    fn a_fight_is_told_ever_less_often_and_nothing_is_left_out() {
        let (mut mending, begun) = (Mending::default(), Instant::now());
        let told = fight(&mut mending, begun, 0, 7_200, false);
        let times: Vec<u64> = told.iter().map(|(at, _)| *at).collect();
        assert_eq!(times[..7], [0, 30, 90, 210, 450, 930, 1_530], "30 s, doubling, up to 10 min");
        assert!(times.windows(2).skip(5).all(|pair| pair[1] - pair[0] == 600), "{times:?}");
        assert_eq!(told[0].1, ["The Secret was changed outside Cofferdam, and was restored."]);
        assert_eq!(
            told[6].1,
            ["The Secret was changed outside Cofferdam 20 times within 600 s, and was restored each time."]
        );
        // The rest is told when it is due, though nobody changes anything any more.
        let last = *times.last().unwrap();
        assert!(mending.note(&[], INTERVAL, false, begun + Duration::from_secs(last + 599)).is_empty());
        let rest = mending.note(&[], INTERVAL, false, begun + Duration::from_secs(last + 600));
        assert!(rest.len() == 1 && rest[0].contains("times within 600 s"), "{rest:?}");
        assert!(mending.note(&[], INTERVAL, false, begun + Duration::from_secs(last + 700)).is_empty());
        // After an hour's quiet it is news again, and less than that is the same fight.
        let again = fight(&mut mending, begun, 7_200 + 3_600, 7_200 + 3_700, false);
        assert_eq!(again.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [10_800, 10_830, 10_890]);
    }

    #[test]
    fn a_version_keeps_half_of_its_events_for_itself() {
        let (mut mending, begun) = (Mending::default(), Instant::now());
        let told = fight(&mut mending, begun, 0, 86_400, false).len();
        assert!((140..160).contains(&told), "{told}");
        // From then on it is told once a day.
        let told = fight(&mut mending, begun, 86_400, 86_400 * 60, true).len();
        assert!(told < 70, "{told}");
    }

    #[test]
    fn kinds_are_counted_apart() {
        let (mut mending, now) = (Mending::default(), Instant::now());
        let gone = Mended { kind: "NetworkPolicy", was_missing: true };
        let told = mending.note(&[secret(), gone, secret()], INTERVAL, false, now);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("NetworkPolicy was deleted") && told[1].contains("Secret was changed"), "{told:?}");
        assert!(told[1].contains("2 times"), "{told:?}");
        assert!(mending.is_due(INTERVAL, now));
        mending.looked(now);
        assert!(!mending.is_due(INTERVAL, now) && mending.is_due(INTERVAL, now + INTERVAL));
    }
}
