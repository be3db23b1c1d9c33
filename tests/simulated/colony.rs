//! The colony of a simulated world, and what its owner asks for.

use std::time::Duration;

use outpost::protocol::Request;
use outpost::protocol::model::{Colony, Runtime};

use super::clock::{SimulatedClock, WorldTime};
use super::hub::{Shows, SimulatedHub};

const SERVER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
pub const COLONY: &str = "c010000000000000000000000000000000000000000000000000000000000000";
/// The runtime that submits all work.
pub const SUBMITTER: &str = "5000000000000000000000000000000000000000000000000000000000000000";

/// Starts a hub on an empty ledger, and makes the colony.
pub fn hub(time: &WorldTime, ppm: i64, shows: Shows) -> SimulatedHub {
    let clock = SimulatedClock::boot(time, Duration::from_secs(100), ppm, "hub-boot-1".to_owned());
    let mut hub = SimulatedHub::start(Default::default(), SERVER.to_owned(), clock, shows);
    let colony = Colony {
        id: COLONY.to_owned(),
        name: "home".to_owned(),
    };
    let added = hub.ask(SERVER, Request::AddColony(Some(colony)));
    added.unwrap().unwrap();
    hub
}

/// A runtime is added…
pub fn addition(id: &str, runtime_type: &str) -> Request {
    Request::AddRuntime(Runtime {
        id: id.to_owned(),
        runtime_type: runtime_type.to_owned(),
        colony_id: COLONY.to_owned(),
        ..Runtime::default()
    })
}

/// …and approved.
pub fn approval(id: &str) -> Request {
    Request::ApproveRuntime {
        runtime_id: id.to_owned(),
    }
}
