//! Not written yet.

pub mod journal;
