//! Outpost: an edge worker for embedded Linux that does the work of a Colonies server, and a compact
//! companion server.
//!
//! The rooms, and who may know whom (`tests/rooms.rs` enforces it):
//!
//! - [`protocol`]: what goes over the wire; pure: no I/O, no clock, no tokio. Knows nobody.
//! - [`clock`]: boot time and wall time as parameters, for everything that has a deadline. Knows nobody.
//! - [`watch`]: a value that many tasks wait upon, woken in the order of waiting. Knows nobody.
//! - [`client`]: asking a Colonies server: typed calls over a transport. Knows `protocol` and `clock`.
//! - [`device`]: what acts: one trait, one file or folder per kind. Knows `clock` and
//!   `watch`.
//! - [`agent`]: the worker: enrol, assign, perform, report. Knows `client`, `device`, `protocol`,
//!   `clock`, `watch`, `config`, `keyfile`, `console`, `logging` and `notify`.
//! - [`hub`]: the companion server: authorise, ledger, storage, HTTP. Knows `protocol`, `clock`, `watch`,
//!   `config`, `keyfile` and `logging`; `client` in its relay alone.
//! - [`cli`]: the operator's commands and the demo, which starts the other programs as they are. Knows `client`, `protocol`,
//!   `clock`, `config`, `keyfile`, `console` and `vehicle`.
//! - [`vehicle`]: a simulated drone to try everything on before anything flies. Knows nobody.
//! - [`config`]: settings from a file and the environment; the sections are typed by the rooms that use them.
//!   Knows nobody.
//! - [`keyfile`]: private keys on disk, readable by their owner alone. Knows `protocol`.
//! - [`notify`]: telling the service manager that we are ready, alive, reloading, stopping. Knows nobody.
//! - [`console`]: where programs write to, tables for people, and the last words of a panic. Knows nobody.
//! - [`logging`]: the log, one line an event on standard error. Knows `protocol`.
//! - `bin/`: parse arguments, call the library, print. Knows all.

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
#[cfg(feature = "settings")]
pub mod config;
pub mod console;
#[cfg(feature = "agent")]
pub mod device;
#[cfg(feature = "hub")]
pub mod hub;
pub mod keyfile;
pub mod logging;
#[cfg(any(feature = "agent", feature = "hub"))]
pub mod notify;
pub mod protocol;
#[cfg(feature = "cli")]
pub mod vehicle;
#[cfg(any(feature = "agent", feature = "hub"))]
pub mod watch;
