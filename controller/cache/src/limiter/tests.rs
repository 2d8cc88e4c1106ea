use super::*;

fn limiter() -> Limiter {
    Limiter::new(None, CacheMetrics::default())
}

#[tokio::test]
async fn a_burst_goes_through_and_then_one_an_interval() {
    let limiter = limiter();
    let rate = Rate { per_minute: 60, burst: 5 };
    for _ in 0..5 {
        limiter.check("a", rate).await.unwrap();
    }
    let RetryAfter(wait) = limiter.check("a", rate).await.unwrap_err();
    assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
    limiter.check("b", rate).await.unwrap();
    assert_eq!(limiter.check("a", Rate { per_minute: 0, burst: 9 }).await, Err(RetryAfter(NEVER)));
}

#[test]
fn a_minute_has_its_number_and_a_refusal_counts_for_nothing() {
    let mut table = Table::default();
    let rate = Rate { per_minute: 600, burst: 10 };
    let interval = rate.interval_us().unwrap();
    let tolerance = rate.tolerance_us(interval);
    let mut taken = 0;
    for at in (1..=60_000_u64).map(|ms| ms * 1000) {
        taken += u32::from(table.take(7, at, interval, tolerance).is_ok());
    }
    assert!((609..=610).contains(&taken), "{taken}");
    // A rate that is raised takes effect with its first request.
    let slow = Rate { per_minute: 1, burst: 1 }.interval_us().unwrap();
    table.take(8, 0, slow, slow).unwrap();
    table.take(8, 1000, interval, tolerance).unwrap();
    assert_eq!(table.take(8, 1000, interval, tolerance), Err(interval));
}

#[test]
fn keys_are_bounded_and_those_in_use_stay() {
    let mut table = Table::default();
    let (interval, tolerance) = (1_000_000, 1_000_000);
    for now in 0..3_000_000_u64 {
        table.take(now, now, 10, 10).unwrap();
        if now % 1000 == 0 {
            let _ = table.take(u64::MAX, now, interval, tolerance);
        }
    }
    assert!(table.len() <= 8192, "{}", table.len());
    assert!(table.take(u64::MAX, 2_999_999, interval, tolerance).is_err());
}

#[test]
fn seconds_are_rounded_up() {
    for (ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (60_000, 60)] {
        assert_eq!(RetryAfter(Duration::from_millis(ms)).seconds(), seconds);
    }
}

#[tokio::test]
async fn a_check_in_memory_is_quick() {
    let limiter = limiter();
    let rate = Rate { per_minute: u32::MAX, burst: 1000 };
    let begun = Instant::now();
    for _ in 0..100_000 {
        let _ = limiter.check("key_0123456789", rate).await;
    }
    // 0.3 microseconds each, not optimized, on a quiet machine.
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}
