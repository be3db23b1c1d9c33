//! The worker on the device: enrol, assign, perform, report.
//!
//! What it promises about acting stands in docs/fence.md; [`fence`] decides accordingly and does nothing,
//! [`worker`] does what was decided. The other parts are each for one question: where we stand with the colony
//! ([`enrolment`]), what processes may call ([`registry`]), when a lease ends ([`server_clock`]), what the server
//! was not told yet ([`outbox`], [`delivery`]), what it believes wrongly ([`reconcile`]), what an answer means
//! ([`answers`]), when to try again ([`backoff`]), what is open ([`devices`]) and how that changes while it
//! runs ([`reload`]), how it is ([`health`]) and whether it is alive ([`watchdog`]).

pub mod answers;
pub mod backoff;
pub mod delivery;
pub mod devices;
pub mod enrolment;
pub mod fence;
pub mod health;
pub mod journal;
mod lane;
pub mod outbox;
pub mod reconcile;
pub mod registry;
pub mod reload;
pub mod server_clock;
pub mod service;
pub mod settings;
pub mod watchdog;
pub mod worker;

#[cfg(test)]
mod tests;
