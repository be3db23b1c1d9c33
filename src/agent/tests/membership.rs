//! Enrolling, and staying welcome; starting and going on with a server that is not there.

use std::time::Duration;

use super::server::Fault;
use super::{Bench, at};
use crate::agent::enrolment::{Enrolment, Standing, fingerprint};
use crate::clock::Clock;
use crate::protocol::Kind;
use crate::protocol::model::ProcessState::{Running, Successful, Waiting};
use crate::protocol::model::{Runtime, RuntimeState};

#[tokio::test(start_paused = true)]
async fn without_the_colonys_key_it_tells_how_once_and_waits() {
    let bench = Bench::stranger();
    let mut enrolment = bench.enrolment();
    let id = bench.key.id();
    assert_eq!(enrolment.ask().await.unwrap(), Standing::Absent);
    let text = enrolment.tell(Standing::Absent).unwrap();
    assert!(text.contains(&fingerprint(&id)), "{text}");
    let colony = &enrolment.runtime().colony_id;
    let command =
        format!("outpost runtime add --id {id} --name porch --type cli --approve --colony {colony}");
    assert!(text.ends_with(&command), "{text}");
    assert_eq!(enrolment.tell(Standing::Absent), None, "once");
    bench.server.set_runtime(&id, RuntimeState::Pending);
    assert_eq!(enrolment.ask().await.unwrap(), Standing::Pending);
    assert!(
        enrolment
            .tell(Standing::Pending)
            .unwrap()
            .contains("outpost runtime approve")
    );
    bench.server.set_runtime(&id, RuntimeState::Approved);
    assert_eq!(enrolment.ask().await.unwrap(), Standing::Approved);
    assert!(
        enrolment
            .tell(Standing::Approved)
            .unwrap()
            .starts_with("enrolled as porch")
    );

    bench.server.delete_runtime(&id);
    bench.start();
    let process = bench.submit("echo", &[], 60, 0);
    bench.clock.sleep_until(at(600.0)).await;
    assert_eq!(bench.server.process(&process).state, Waiting);
    let asked = bench.server.asked(Kind::GetRuntimes);
    assert!(
        asked.len() < 40 && asked.len() > 10,
        "{} times in ten minutes: it backs off and never gives up",
        asked.len()
    );
    bench.server.set_runtime(&id, RuntimeState::Approved);
    bench.server.until_state(&process, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn with_the_colonys_key_it_adds_and_approves_itself() {
    let mut bench = Bench::stranger();
    bench.with_owner_key = true;
    bench.start();
    let process = bench.submit("echo", &[], 60, 0);
    bench.server.until_state(&process, Successful).await;
    let runtime = bench.server.runtime(&bench.key.id()).unwrap();
    assert_eq!(runtime.name, "porch");
    assert_eq!(runtime.state, RuntimeState::Approved);
    // Deleted while it works: it comes back.
    bench.server.delete_runtime(&bench.key.id());
    let process = bench.submit("echo", &[], 60, 0);
    bench.server.until_state(&process, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn the_owners_rejection_stands_also_over_the_colonys_key() {
    let mut bench = Bench::stranger();
    bench.with_owner_key = true;
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Rejected);
    bench.start();
    let process = bench.submit("echo", &[], 60, 0);
    bench.clock.sleep_until(at(600.0)).await;
    assert_eq!(bench.server.process(&process).state, Waiting);
    assert_eq!(bench.server.asked(Kind::ApproveRuntime), []);
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Approved);
    bench.server.until_state(&process, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn pending_is_approved_with_the_colonys_key_and_a_lost_race_to_add_is_no_error() {
    let mut bench = Bench::stranger();
    bench.with_owner_key = true;
    let enrolment = bench.enrolment();
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Pending);
    assert_eq!(enrolment.ask().await.unwrap(), Standing::Approved);
    bench.server.delete_runtime(&bench.key.id());
    let duplicate = "pq: duplicate key value violates unique constraint \"prod_runtimes_pkey\"";
    bench
        .server
        .fault(Kind::AddRuntime, Fault::Refuse(400, duplicate));
    assert_eq!(
        enrolment.ask().await.unwrap(),
        Standing::Elsewhere,
        "there, but not in this colony"
    );
    bench.server.fault(Kind::AddRuntime, Fault::LostAfter);
    assert!(enrolment.ask().await.is_err());
    assert_eq!(
        enrolment.ask().await.unwrap(),
        Standing::Approved,
        "what the lost answer added is approved"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_colony_key_and_an_unknown_colony_are_told_apart() {
    let bench = Bench::stranger();
    let client = bench.server.client();
    let runtime = Runtime {
        name: "a b".to_owned(),
        runtime_type: "cli".to_owned(),
        colony_id: bench.server.colony_id(),
        ..Runtime::default()
    };
    let me = client.with_key(bench.key.clone());
    let mut wrong = Enrolment::new(me.clone(), Some(me), runtime);
    assert_eq!(wrong.ask().await.unwrap(), Standing::WrongOwnerKey);
    let text = wrong.tell(Standing::WrongOwnerKey).unwrap();
    assert!(text.contains("[colony] key_file"), "{text}");
    assert!(text.contains("--name 'a b'"), "as a shell takes it: {text}");
    bench.server.fault(
        Kind::GetRuntimes,
        Fault::Refuse(403, "Colony <c> does not exists"),
    );
    assert_eq!(wrong.ask().await.unwrap(), Standing::NoColony);
}

#[tokio::test(start_paused = true)]
async fn rejected_in_mid_operation_it_keeps_the_result_and_delivers_it_when_approved_again() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("sleep", &["2"], 600, 0);
    bench.server.until_state(&id, Running).await;
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Rejected);
    bench.clock.sleep_until(at(120.0)).await;
    assert_eq!(bench.server.process(&id).state, Running, "it can't close it");
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Approved);
    let process = bench.server.until_state(&id, Successful).await;
    assert_eq!(bench.server.out(&id, "slept").as_deref(), Some("2.000"));
    assert_eq!(process.retries, 0);
    let next = bench.submit("echo", &[], 60, 0);
    bench.server.until_state(&next, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn deleted_in_mid_operation_its_result_is_moot_and_the_process_is_done_by_whoever_gets_it() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("sleep", &["2"], 600, 0);
    let first = bench.server.until_state(&id, Running).await;
    bench.server.delete_runtime(&bench.key.id());
    bench.clock.sleep_until(at(30.0)).await;
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Approved);
    let done = bench.server.until_state(&id, Successful).await;
    assert_ne!(done.start_time, first.start_time, "in another attempt");
}

#[tokio::test(start_paused = true)]
async fn it_starts_with_nothing_reachable_and_tries_for_ever_with_growing_pauses() {
    let bench = Bench::new();
    bench.server.set_down(true);
    bench.start();
    bench.clock.sleep_until(at(3600.0)).await;
    let asked = bench.server.asked(Kind::GetRuntimes);
    let pauses: Vec<Duration> = asked
        .windows(2)
        .map(|pair| pair[1].saturating_since(pair[0]))
        .collect();
    // Three quarters of 1, 2, 4, 8, 16, 30 s and 30 s from then on: the random number here is always the same.
    let expected = [750, 1500, 3000, 6000, 12000, 22500, 22500];
    for (pause, expected) in pauses.iter().zip(expected) {
        assert_eq!(pause.as_millis(), expected, "{pauses:?}");
    }
    assert!(asked.len() > 150, "never gives up");
    bench.server.set_down(false);
    let id = bench.submit("echo", &[], 60, 0);
    bench.server.until_state(&id, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn polls_that_the_server_does_not_hold_don_t_become_a_storm() {
    let bench = Bench::new();
    for _ in 0..100_000 {
        let nothing = "No processes can be selected for runtime with Id <r>";
        bench.server.fault(Kind::Assign, Fault::Refuse(200, nothing));
    }
    bench.start();
    bench.clock.sleep_until(at(100.0)).await;
    let polls = bench.server.asked(Kind::Assign).len();
    assert!(polls < 200, "{polls} polls in 100 s");
}

#[tokio::test(start_paused = true)]
async fn an_idle_agent_asks_the_server_rarely() {
    let bench = Bench::new();
    bench.start();
    bench.clock.sleep_until(at(3600.0)).await;
    let polls = bench.server.asked(Kind::Assign).len();
    assert!((115..130).contains(&polls), "{polls} polls of 30 s in an hour");
    assert!(bench.server.asked(Kind::Version).len() < 30);
    assert!(bench.server.asked(Kind::GetHistory).len() <= 15);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_contradicts_itself_about_membership_is_not_stormed() {
    let bench = Bench::new();
    for _ in 0..100_000 {
        bench.server.fault(
            Kind::Assign,
            Fault::Refuse(403, "Runtime with Id <r> is not approved"),
        );
    }
    bench.start();
    bench.clock.sleep_until(at(600.0)).await;
    let polls = bench.server.asked(Kind::Assign).len();
    assert!(polls < 40, "{polls} polls in ten minutes");
}
