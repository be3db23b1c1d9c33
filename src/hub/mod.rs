//! The companion server.
pub mod engine;
pub mod ledger;
pub mod service;
