//! Describes the machine that the figures were measured on. No names of machines, users or folders.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::peers::{Native, Peers};

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Names and values, in the order of the report.
pub(crate) fn facts(peers: &Peers) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let version = |native: &Option<Native>| native.as_ref().map_or("missing".to_owned(), |n| n.version.clone());
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    vec![
        ("Date", date()),
        ("CPU", field("/proc/cpuinfo", "model name").unwrap_or_else(unknown)),
        ("Cores", std::thread::available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string())),
        ("Memory", memory.map_or_else(unknown, |kib| format!("{:.0} GiB", kib / 1048576.0))),
        ("Linux", fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| unknown(), |s| s.trim().to_owned())),
        ("Cofferdam", env!("CARGO_PKG_VERSION").to_owned()),
        ("Peer: Python", version(&peers.python)),
        ("Peer: Python with libraries", version(&peers.libraries)),
        ("Peer: JavaScript", version(&peers.node)),
        ("Peer: models", format!("{} on {}", crate::litellm::NAME, version(&peers.python))),
        ("Peer: images", crate::pusher::version("skopeo").unwrap_or_else(|| "missing".to_owned())),
        (
            "Registry of the image rows",
            crate::pusher::version("docker-registry").unwrap_or_else(|| "missing".to_owned()),
        ),
    ]
}

/// The fraction of all processors' time that is in use, 0 to 1, over a moment. Measured while our own processes are
/// idle, it is the load of others.
pub(crate) fn busy() -> f64 {
    let read = || -> Option<(f64, f64)> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let times: Vec<f64> = text.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal
        Some((times.iter().take(8).sum(), times.iter().skip(3).take(2).sum()))
    };
    let before = read();
    std::thread::sleep(Duration::from_millis(400));
    match (before, read()) {
        (Some((all, idle)), Some((all_later, idle_later))) if all_later > all => {
            1.0 - (idle_later - idle) / (all_later - all)
        }
        _ => 0.0,
    }
}

/// Today in UTC, as `2026-01-31` (days to civil date as in Howard Hinnant's `chrono`-compatible algorithms).
fn date() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400) + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}
