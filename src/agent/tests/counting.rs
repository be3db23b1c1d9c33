//! What the lanes count, as a reader of /metrics sees it.

use std::time::Duration;

use super::server::Fault;
use super::{Bench, at};
use crate::agent::journal::Fault as DiskFault;
use crate::clock::Clock;
use crate::protocol::Kind;
use crate::protocol::model::ProcessState::{Failed, Running, Successful};

/// The lines that are not 0.
fn counted(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("outpost_agent_"));
    let of_interest = |line: &&str| !line.ends_with(" 0") && !line.starts_with("lease_margin");
    lines.filter(of_interest).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn attempts_refusals_and_what_waits_are_counted() {
    let bench = Bench::new();
    let shared = bench.shared();
    bench.start_with(shared.clone());
    for (func, args, state) in [
        ("lamp.toggle", &[][..], Successful),
        ("lamp.pulse", &["60s"], Failed),
        ("lamp.onn", &[], Failed),
    ] {
        let id = bench.submit(func, args, 5, 0);
        bench.server.until_state(&id, state).await;
    }
    // Left to the requeue; the second time it may not begin.
    let left = bench.submit("odd.set", &[], 5, 0);
    bench.server.until_state(&left, Failed).await;
    let lost = bench.submit("odd.set", &[], 600, 0);
    bench.server.until_state(&lost, Running).await;
    bench.server.delete_process(&lost);
    bench
        .clock
        .sleep_until(bench.now() + Duration::from_secs(10))
        .await;
    bench.disk.fail_after(0, DiskFault::Full);
    let refused = bench.submit("lamp.on", &[], 60, 0);
    bench.server.until_state(&refused, Failed).await;
    // Until the answers were there.
    bench
        .clock
        .sleep_until(bench.now() + Duration::from_secs(1))
        .await;
    let lines = counted(&shared.metrics.text());
    let written = lines
        .iter()
        .find(|line| line.starts_with("journal_written_bytes_total "));
    assert!(written.is_some(), "{lines:?}");
    for expected in [
        "attempts_total{outcome=\"successful\"} 1",
        "attempts_total{outcome=\"failed\"} 1",
        "attempts_total{outcome=\"left\"} 1",
        "attempts_total{outcome=\"lost\"} 1",
        "refusals_total{reason=\"not_callable\"} 1",
        "refusals_total{reason=\"no_journal\"} 1",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected} is not in {lines:?}"
        );
    }
    assert_eq!(lines.len(), 7, "{lines:?}");
    let text = shared.metrics.text();
    assert!(
        text.contains("outpost_agent_lease_margin_seconds_count 4"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_outbox_and_reconnects_are_counted() {
    let bench = Bench::new();
    let shared = bench.shared();
    bench.start_with(shared.clone());
    bench.clock.sleep_until(at(1.0)).await;
    let id = bench.submit("sleep", &["2"], 600, 0);
    bench.server.until_state(&id, Running).await;
    bench.server.set_down(true);
    bench.clock.sleep_until(at(40.0)).await;
    let lines = counted(&shared.metrics.text());
    assert!(lines.contains(&"outbox_depth 1".to_owned()), "{lines:?}");
    bench.server.set_down(false);
    bench.server.until_state(&id, Successful).await;
    bench.server.fault(Kind::Assign, Fault::Unreachable);
    bench
        .clock
        .sleep_until(bench.now() + Duration::from_secs(90))
        .await;
    let lines = counted(&shared.metrics.text());
    assert!(
        lines.iter().any(|line| line.starts_with("reconnects_total ")),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.starts_with("outbox_depth")),
        "{lines:?}"
    );
}
