//! The worker on the device: enrol, assign, perform, report.
//!
//! What it promises about acting stands in docs/fence.md; [`fence`] decides accordingly and does nothing,
//! [`worker`] and its jobs do what was decided. The other parts are each for one question: where we stand with the
//! colony ([`enrolment`]), what processes may call ([`registry`]), when a lease ends ([`server_clock`]), what must still be
//! known after a crash ([`journal`], reached through [`keeper`]), what the server was not told yet ([`outbox`],
//! [`delivery`]), what it believes wrongly ([`reconcile`]), what an answer means ([`answers`]), when to try again
//! ([`backoff`]), what drives the outputs when the agent can't ([`safe`]), whether the agent ends so that this happens
//! ([`fault_exits`]), what is counted ([`metrics`]), what is open
//! ([`devices`]) and how that changes while it runs ([`reload`]), what edges of inputs submit ([`edges`]),
//! how it is ([`health`]) and whether it is alive ([`watchdog`], [`heartbeat`]). [`program`] is the command line around it.

pub mod answers;
pub mod backoff;
pub mod delivery;
pub mod devices;
pub mod edges;
pub mod enrolment;
pub mod fault_exits;
pub mod fence;
pub mod health;
pub mod heartbeat;
mod job;
pub mod journal;
pub mod keeper;
mod lane;
pub mod metrics;
pub mod outbox;
pub mod program;
mod question;
pub mod reconcile;
pub mod registry;
pub mod reload;
pub mod safe;
pub mod server_clock;
pub mod service;
pub mod settings;
pub mod shared;
pub mod watchdog;
pub mod worker;

#[cfg(test)]
mod tests;
