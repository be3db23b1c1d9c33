//! The companion server.
pub mod ledger;
pub mod service;
pub mod engine;
