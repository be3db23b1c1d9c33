//! On a database: what a restart keeps, and when the disk is written to.

use super::*;
use crate::clock::Clock;
use crate::hub::ledger::{OpenOptions, SqliteStore, Synchronous};

/// Stops the hub, lets `between` happen, and starts it again on the same database.
fn restarted(hub: Hub<SqliteStore>, between: impl FnOnce(&HandClock)) -> Hub<SqliteStore> {
    let path = hub.engine.store().path().to_owned();
    let hands = hub.hands.clone();
    // Nothing is finished: what was not committed is lost, as after kill -9.
    drop(hub);
    between(&hands);
    Hub::on(SqliteStore::open(&path, &fast()).unwrap(), hands)
}

fn fast() -> OpenOptions {
    OpenOptions {
        synchronous: Synchronous::Off,
        ..OpenOptions::default()
    }
}

fn on_disk(dir: &tempfile::TempDir) -> Hub<SqliteStore> {
    let store = SqliteStore::open(&dir.path().join("hub.db"), &fast()).unwrap();
    Hub::on(store, HandClock::new()).with_colony()
}

#[test]
fn in_the_same_boot_deadlines_go_on_across_a_restart_whatever_the_wall_clock_does() {
    for step in [0, YEARS_56, -YEARS_56] {
        let dir = tempfile::tempdir().unwrap();
        let mut hub = on_disk(&dir);
        let runs = hub.submit(limited(-1, 10, 2));
        let waits = hub.submit(limited(20, -1, 0));
        let before = process(hub.ask(RT1, assign(-1)));
        hub.advance(4 * SECOND);
        let mut hub = restarted(hub, |hands| {
            hands.step_wall(step);
            hands.advance(5 * SECOND);
        });
        let stamp = hub.engine.clock().moment().stamp;
        assert!(stamp.since(before.start_time) >= Some(9 * SECOND), "{step}");
        hub.advance(SECOND - NANO);
        let is = hub.get(&runs.id);
        assert_eq!(is.state, ProcessState::Running, "{step}");
        assert_eq!(is.start_time, before.start_time.rounded_to_micros());
        hub.advance(NANO);
        let is = hub.get(&runs.id);
        assert_eq!((is.state, is.retries), (ProcessState::Waiting, 1), "{step}");
        hub.advance(10 * SECOND - NANO);
        assert_eq!(hub.get(&waits.id).state, ProcessState::Waiting, "{step}");
        hub.advance(NANO);
        assert_eq!(hub.get(&waits.id).state, ProcessState::Failed, "{step}");
    }
}

#[test]
fn in_another_boot_leases_start_again_in_full() {
    for step in [0, YEARS_56, -YEARS_56] {
        let dir = tempfile::tempdir().unwrap();
        let mut hub = on_disk(&dir);
        let runs = hub.submit(limited(-1, 10, 0));
        process(hub.ask(RT1, assign(-1)));
        hub.advance(9 * SECOND);
        let mut hub = restarted(hub, |hands| {
            hands.reboot();
            hands.step_wall(step);
        });
        hub.advance(10 * SECOND - NANO);
        assert_eq!(
            hub.get(&runs.id).state,
            ProcessState::Running,
            "{step}: never early"
        );
        hub.advance(NANO);
        let is = hub.get(&runs.id);
        assert_eq!(is.state, ProcessState::Failed, "{step}");
        assert_eq!(
            is.end_time.since(is.exec_deadline),
            Some(Duration::ZERO),
            "what is shown is what happened"
        );
    }
}

#[test]
fn in_another_boot_a_wait_lasts_what_was_left_and_never_more_than_in_full() {
    for (step, left) in [
        (0, 14),
        (3_000_000_000, 11),
        (YEARS_56, 0),
        // Stamps don't go back, so nothing is gained.
        (-YEARS_56, 14),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut hub = on_disk(&dir);
        let waits = hub.submit(limited(20, -1, 0));
        hub.advance(6 * SECOND);
        // A commit at this time, so that the stamp is on disk.
        hub.submit(plain());
        let mut hub = restarted(hub, |hands| {
            hands.reboot();
            hands.step_wall(step);
        });
        if left > 0 {
            hub.advance(left * SECOND - Duration::from_micros(2));
            assert_eq!(hub.get(&waits.id).state, ProcessState::Waiting, "{step}");
        }
        hub.advance(Duration::from_micros(2));
        assert_eq!(hub.get(&waits.id).state, ProcessState::Failed, "{step}");
    }
}

#[test]
fn stamps_never_go_back_not_even_across_boots() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = on_disk(&dir);
    hub.hands.step_wall(YEARS_56);
    let last = hub.submit(plain()).submission_time;
    let mut hub = restarted(hub, |hands| {
        hands.reboot();
        hands.step_wall(-2 * YEARS_56);
    });
    let next = hub.submit(plain()).submission_time;
    assert!(next >= last, "{next} is before {last}");
    assert!(next >= Time::from_unix_nanos((START + YEARS_56).into()));
    assert!(hub.engine.clock().ahead_of_wall() > Duration::from_secs(56 * 31_000_000));
}

#[test]
fn an_idle_poll_costs_no_commit_but_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = on_disk(&dir);
    let heard = |hub: &mut Hub<SqliteStore>| {
        let runtime_id = id(RT1);
        match hub.ask(RT2, Request::GetRuntime { runtime_id }).unwrap() {
            Answer::Runtime(runtime) => runtime.last_heard_from,
            other => panic!("{other:?}"),
        }
    };
    let before = heard(&mut hub);
    let wal = dir.path().join("hub.db-wal");
    let size = std::fs::metadata(&wal).unwrap().len();
    hub.advance(SECOND);
    assert!(hub.ask(RT1, assign(-1)).is_err());
    let seen = heard(&mut hub);
    assert!(seen > before);
    assert_eq!(std::fs::metadata(&wal).unwrap().len(), size);
    // A minute later it goes to disk all the same.
    hub.advance(60 * SECOND);
    assert!(hub.ask(RT2, assign(-1)).is_err());
    assert!(std::fs::metadata(&wal).unwrap().len() > size);
    let mut hub = restarted(hub, |_| {});
    assert_eq!(heard(&mut hub), seen);
}

fn length(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Submits until the store is as untidy as that.
fn submit_until(hub: &mut Hub<SqliteStore>, untidy: Untidy) {
    for _ in 0..10_000 {
        if hub.engine.store().untidy() == untidy {
            return;
        }
        let mut spec = plain();
        spec.env = [("FILLING".to_owned(), "x".repeat(4000))].into();
        hub.submit(spec);
    }
    panic!("never {untidy:?}");
}

#[test]
fn the_database_is_tidied_up_once_nobody_asks_for_anything() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = on_disk(&dir);
    let database = dir.path().join("hub.db");
    assert_eq!(hub.engine.next_wakeup(), None);
    submit_until(&mut hub, Untidy::SomeTime);
    let size = length(&database);
    let quiet = hub.hands.now() + QUIET;
    assert_eq!(hub.engine.next_wakeup(), Some(quiet));
    hub.advance(QUIET - NANO);
    assert_eq!(
        hub.engine.store().untidy(),
        Untidy::SomeTime,
        "not quiet for long enough"
    );
    // Somebody asks: from here on it is counted again.
    assert!(hub.ask(RT1, assign(-1)).is_ok());
    hub.advance(QUIET - NANO);
    assert_eq!(hub.engine.store().untidy(), Untidy::SomeTime, "somebody asked");
    assert_eq!(
        length(&database),
        size,
        "nothing was copied while somebody waited"
    );
    hub.advance(NANO);
    assert_eq!(hub.engine.store().untidy(), Untidy::No);
    assert!(length(&database) > size);
    assert_eq!(hub.engine.next_wakeup(), None, "and then it sleeps");
}

#[test]
fn the_log_does_not_grow_for_ever_where_it_is_never_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = on_disk(&dir);
    for round in 0..3 {
        submit_until(&mut hub, Untidy::SomeTime);
        submit_until(&mut hub, Untidy::No);
        assert!(length(&dir.path().join("hub.db-wal")) < 20 << 20, "round {round}");
    }
}
