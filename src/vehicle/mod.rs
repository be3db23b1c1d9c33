//! A simulated drone, for tests, the campaign, the demo and whoever wants to try everything before anything flies.
//!
//! It speaks MAVLink 2 through the `mavlink` crate's own types and shares no code with the agent's side, so that a mistake made
//! there is not made here as well. It behaves as ArduCopter and PX4 were seen to behave, their quirks included ([`Quirks`]);
//! it knows nothing of aerodynamics: what it shows is who did what when, not how well an aircraft flies.
//!
//! - [`Autopilot`]: the vehicle itself; no I/O and no clock: bytes and moments in, bytes out; the same seed, the same flight
//! - [`Truth`]: what really happened, whatever the vehicle says over the wire
//! - [`Channel`]: the wire, which loses, damages, doubles, delays and swaps frames by seed
//! - [`Simulation`]: both, and [`Faults`]: what goes wrong when
//! - [`Server`]: a simulation in tokio's time, on any stream, a TCP port or a real pseudo-terminal

mod autopilot;
mod battery;
mod channel;
mod commands;
mod config;
mod failsafe;
mod faults;
mod fence;
mod lists;
mod mission;
mod mode;
mod navigation;
mod params;
mod physics;
mod place;
mod prearm;
mod pty;
mod random;
mod server;
mod simulation;
mod streams;
mod transfer;
mod trouble;
mod truth;
mod wire;

#[cfg(test)]
mod tests;

pub use autopilot::Autopilot;
pub use channel::{Channel, Direction, Line, Span};
pub use config::{Config, Family, Limits, Quirks, Signing, Wind};
pub use faults::{Act, BadFaults, Faults, GRAMMAR, Moment};
pub use mode::Mode;
pub use pty::{Pty, PtyError};
pub use server::{Server, Shared};
pub use simulation::Simulation;
pub use trouble::Trouble;
pub use truth::{Cause, Event, Landed, Received, Truth};
