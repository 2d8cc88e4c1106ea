//! Rates hold for all processes together.

use std::time::Duration;

use cofferdam_cache::Rate;

use crate::server::twins;

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_rate() {
    let rate = Rate { per_minute: 60, burst: 20 };
    for (twin, _redis, one, two, _processes) in twins().await {
        let mut taken = 0;
        for _ in 0..20 {
            taken += u32::from(one.limiter.check("org", rate).await.is_ok());
            taken += u32::from(two.limiter.check("org", rate).await.is_ok());
        }
        // One more for each second that the loop has taken.
        assert!((20..=22).contains(&taken), "{twin}: {taken}");
        let wait = two.limiter.check("org", rate).await.unwrap_err();
        assert!(wait.0 <= Duration::from_secs(1) && wait.seconds() == 1, "{twin}: {wait:?}");
        one.limiter.check("another", rate).await.unwrap();
        tokio::time::sleep(wait.0 + Duration::from_millis(20)).await;
        two.limiter.check("org", rate).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_rate_takes_effect_at_once_and_a_refusal_counts_for_nothing() {
    for (twin, _redis, one, two, _processes) in twins().await {
        let slow = Rate { per_minute: 1, burst: 1 };
        one.limiter.check("key", slow).await.unwrap();
        for _ in 0..100 {
            assert!(one.limiter.check("key", slow).await.unwrap_err().seconds() <= 60, "{twin}");
            two.limiter.check("key", slow).await.unwrap_err();
        }
        let quick = Rate { per_minute: 6000, burst: 1 };
        two.limiter.check("key", quick).await.unwrap();
    }
}
