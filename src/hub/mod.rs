//! The companion server: a compact Colonies server with embedded storage.
//!
//! ```text
//! http (bytes) > api (envelope, caller, dialect) > engine (one serial order, many requests to a commit)
//!      > service (who may) > ledger (what happens; pure) > SQLite > … and the answers, once they are on disk
//! ```

pub mod api;
pub mod engine;
pub mod http;
pub mod ledger;
pub mod service;
pub mod settings;
mod start;
#[cfg(test)]
mod testing;

pub use self::settings::Settings;
pub use self::start::{Hub, StartError};
