//! The fence simulated: agents, the hub's ledger, network, clocks and disks in one thread without real time, by seed
//! (docs/fence.md, 8).
//!
//! Agents and hub are the real code; the world around them is a queue of events. A seed is a schedule: the same seed, the
//! same events to the nanosecond. `scripts/simulate` runs many, and shows one.
#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs
)]

mod campaign;
mod clock;
mod dice;
mod fence;
mod hub;
mod idle;
mod machine;
mod net;
mod plan;
mod scene;
mod witness;
mod world;

use fence::Broken;
use plan::Plan;
use witness::Kind;
use world::World;

/// Seeds that once failed; what they found is written beside them.
const REGRESSIONS: &[u64] = &[];

/// What the witness must say of each broken fence, and a seed from which on it soon does.
const BREAKS: [(Broken, &[Kind], u64); 4] = [
    (Broken::NoJournal, &[Kind::Twice, Kind::Lost], 0),
    (Broken::LeaseFromArrival, &[Kind::Late, Kind::Unsafe], 0),
    (Broken::NoConfirm, &[Kind::Late], 0),
    (Broken::OutboxWithoutAsking, &[Kind::False], 0),
];

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in 0..20 {
        let plan = Plan::of(seed);
        let (first, second) = (World::run(&plan, None, true), World::run(&plan, None, true));
        for (first, second) in first.log.iter().zip(&second.log) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_eq!(first.log.len(), second.log.len(), "seed {seed}");
    }
}

#[test]
fn schedules_that_once_failed_do_not_any_more() {
    let tally = campaign::run(REGRESSIONS.iter().copied(), None, false);
    assert!(tally.failed.is_empty(), "{tally}");
}

#[test]
fn the_fence_holds() {
    let tally = campaign::run(0..150, None, false);
    assert!(tally.failed.is_empty(), "{tally}");
    assert!(tally.edges > 300, "hardly anything happened: {tally}");
}

#[test]
fn every_broken_fence_is_noticed() {
    for (broken, kinds, from) in BREAKS {
        let tally = campaign::run(from..from + 400, Some(broken), true);
        let (_, violation) = tally.failed.first_key_value().unwrap_or_else(|| {
            panic!("{broken:?} was not noticed in {tally}");
        });
        assert!(kinds.contains(&violation.kind), "{broken:?}: {tally}");
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}

/// All schedules of `scripts/simulate`.
#[test]
#[ignore = "long; scripts/simulate runs it"]
fn the_campaign() {
    let from = number("OUTPOST_SIMULATE_SEED").unwrap_or(1);
    let count = number("OUTPOST_SIMULATE_SCHEDULES").unwrap_or(100_000);
    let tally = campaign::run(from..from + count, None, false);
    eprintln!("{tally}");
    assert!(
        tally.failed.is_empty(),
        "look at one with: scripts/simulate --show SEED"
    );
    for (broken, kinds, _) in BREAKS {
        let tally = campaign::run(from..from + count, Some(broken), true);
        let found = tally.failed.values().next();
        eprintln!(
            "{broken:?}: noticed after {} schedules: {}",
            tally.schedules,
            found.map_or("NOT".to_owned(), ToString::to_string)
        );
        assert!(found.is_some_and(|violation| kinds.contains(&violation.kind)));
    }
}

/// One schedule, with everything that happens in it.
#[test]
#[ignore = "for people; scripts/simulate --show SEED runs it"]
fn one_schedule() {
    let plan = Plan::of(number("OUTPOST_SIMULATE_SEED").unwrap_or(1));
    let broken = number("OUTPOST_SIMULATE_BROKEN").map(|number| Broken::ALL[number as usize]);
    let outcome = World::run(&plan, broken, true);
    eprintln!("{plan}");
    for line in &outcome.log {
        eprintln!("{line}");
    }
    for violation in &outcome.violations {
        eprintln!("{violation}");
    }
}
