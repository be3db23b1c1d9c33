//! A drone behind an autopilot (ArduPilot or PX4) that speaks MAVLink 2 over a serial port, TCP or UDP.
//!
//! The mission runs in the autopilot, which keeps its own failsafes; nothing is steered from here. What flies is decided
//! before arming: the plan is read, checked against the limits, uploaded, read back and compared.
//!
//! ```text
//! a process's args and env --plan--> Plan --flight (pure: frame or time in, frames out)--> wire --link--> autopilot
//! ```
//!
//! | part | what it is |
//! | --- | --- |
//! | [`geo`] | positions, distances, polygons |
//! | [`plan`] | what is asked for, read and checked; what it will cost |
//! | [`wire`] | what is said and heard, in plain types and SI units |
//! | [`link`] | bytes, frames, signatures, ports |
//! | [`flight`] | one flight as a pure state machine |

pub mod flight;
pub mod geo;
pub mod link;
pub mod plan;
pub mod settings;
pub mod wire;
