//! Outpost: an edge worker for embedded Linux that does the work of a Colonies server, and a compact
//! companion server.
//!
//! The rooms, and who may know whom (`tests/rooms.rs` enforces it):
//!
//! - [`protocol`]: what goes over the wire; pure: no I/O, no clock, no tokio. Knows nobody.
//! - [`clock`]: boot time as a parameter, for everything that has a deadline. Knows nobody.
