//! The agent, the hub's ledger, the network, clocks and disks in one thread without real time, by seed (docs/fence.md, 8).
//!
//! The agents' and the hub's code is the real one; the world around it is made of events in one queue. A seed is a
//! schedule: the same seed, the same events to the nanosecond.
#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    dead_code,
    missing_docs
)]

mod clock;
mod dice;
mod hub;
mod idle;
mod machine;
mod net;
mod plan;
mod scene;
mod witness;
mod world;

use plan::Plan;
use world::World;

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in 0..20 {
        let plan = Plan::of(seed);
        let (first, second) = (World::run(&plan, true), World::run(&plan, true));
        for (first, second) in first.log.iter().zip(&second.log) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_eq!(first.log.len(), second.log.len(), "seed {seed}");
    }
}

#[test]
#[ignore]
fn look() {
    let from: u64 = std::env::var("SEED").map_or(0, |text| text.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(1, |text| text.parse().unwrap());
    let (mut bad, mut requests, mut edges, mut events) = (0, 0, 0, 0);
    let started = std::time::Instant::now();
    let mut kinds = std::collections::BTreeMap::new();
    for seed in from..from + count {
        let plan = Plan::of(seed);
        let outcome = World::run(&plan, count == 1);
        requests += outcome.requests;
        edges += outcome.edges;
        events += outcome.events;
        for line in &outcome.log {
            eprintln!("{line}");
        }
        if let Some(violation) = outcome.violations.first() {
            bad += 1;
            *kinds.entry(violation.kind).or_insert(0) += 1;
            if bad < 12 {
                eprintln!("{plan}{violation}\n");
            }
        }
    }
    eprintln!(
        "{count} schedules, {bad} bad {kinds:?}, {requests} requests, {events} events, {edges} edges, {:?}",
        started.elapsed()
    );
}
