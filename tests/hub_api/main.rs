//! The hub's API through the real program: refusals, order of checks, garbage, restarts, hang-ups.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy allows them in test functions, not in what those share

mod bytes;
#[path = "../common/mod.rs"]
mod common;
mod program;
mod refusals;
mod waiting;

use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{COLONY, Hub, answer, connect, http, key, post, process, receive, sealed, send};
use outpost::protocol::base64;
use outpost::protocol::model::{
    Attribute, AttributeKind, Colony, ProcessState, Runtime, RuntimeState, SUBMISSION_ID,
};
use outpost::protocol::{Answer, Envelope, Failure, PrivateKey, Reply, Request};

const RT1: u8 = 0x11;
const RT2: u8 = 0x12;
const STRANGER: u8 = 0x77;

fn started() -> (tempfile::TempDir, Hub) {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("data"));
    (dir, hub)
}

/// A hub with two approved runtimes of type `cli`.
fn with_runtimes() -> (tempfile::TempDir, Hub) {
    let (dir, hub) = started();
    hub.runtime(&key(RT1), "cli");
    hub.runtime(&key(RT2), "cli");
    (dir, hub)
}

fn refused(status: u16, message: impl Into<String>) -> Result<Answer, Failure> {
    Err(Failure {
        status,
        message: message.into(),
    })
}

fn not_member(caller: &PrivateKey, hub: &Hub) -> String {
    format!(
        "Runtime with Id <{}> is not a member of Colony with Id <{}> (Runtime does not exist)",
        caller.id(),
        hub.colony_key().id()
    )
}

#[test]
fn a_life_from_colony_to_closed_process() {
    let (_dir, hub) = with_runtimes();
    let (runtime, owner) = (key(RT1), hub.colony_key());
    let colony_id = owner.id();
    let mut spec = hub.spec("cli");
    spec.env.insert("TEST".into(), "testenv".into());
    let submitted = hub.submit(&runtime, spec);
    assert_eq!(submitted.state, ProcessState::Waiting);
    let assigned = process(hub.assign(&runtime, 10));
    assert_eq!(assigned.id, submitted.id);
    assert_eq!(assigned.spec.env["TEST"], "testenv");
    let attribute = Attribute {
        target_id: assigned.id.clone(),
        target_colony_id: colony_id.clone(),
        kind: AttributeKind::Out,
        key: "output".into(),
        value: "hello\n".into(),
        ..Attribute::default()
    };
    let added = match hub.ask(&runtime, &Request::AddAttribute(attribute)) {
        Ok(Answer::Attribute(added)) => added,
        other => panic!("{other:?}"),
    };
    let attribute_id = added.id.clone();
    assert_eq!(
        hub.ask(&key(RT2), &Request::GetAttribute { attribute_id }),
        Ok(Answer::Attribute(added))
    );
    let process_id = assigned.id.clone();
    assert_eq!(
        hub.ask(&runtime, &Request::CloseSuccessful { process_id }),
        Ok(Answer::Done)
    );
    let closed = hub.get(&key(RT2), &assigned.id);
    assert_eq!(closed.state, ProcessState::Successful);
    assert_eq!(closed.attributes.len(), 2);
    let statistics = match hub.ask(&owner, &Request::GetColonyStatistics { colony_id }) {
        Ok(Answer::Statistics(statistics)) => statistics,
        other => panic!("{other:?}"),
    };
    assert_eq!((statistics.colonies, statistics.runtimes), (1, 2));
    assert_eq!(statistics.successful_processes, 1);
    assert_eq!(statistics.waiting_processes + statistics.running_processes, 0);
    assert!(hub.stop().success());
}

#[test]
fn a_runtime_is_seen_with_its_state_and_comes_back_after_deletion() {
    let (_dir, hub) = with_runtimes();
    let owner = hub.colony_key();
    let runtime_id = key(RT2).id();
    let state = |hub: &Hub| {
        let colony_id = owner.id();
        match hub.ask(&owner, &Request::GetRuntimes { colony_id }) {
            Ok(Answer::Runtimes(all)) => all.iter().map(|one| one.state).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    use RuntimeState::{Approved, Rejected};
    assert_eq!(state(&hub), [Approved, Approved]);
    let reject = Request::RejectRuntime {
        runtime_id: runtime_id.clone(),
    };
    hub.ask(&owner, &reject).unwrap();
    assert_eq!(state(&hub), [Approved, Rejected]);
    hub.ask(&owner, &Request::DeleteRuntime { runtime_id }).unwrap();
    assert_eq!(state(&hub), [Approved]);
    hub.runtime(&key(RT2), "cli");
    assert_eq!(state(&hub), [Approved, Approved]);
}
