//! Whole flights against a small fake autopilot, which shares no code with the simulated vehicle: a row for everything that
//! can go wrong, and random faults.

mod fake;
mod ground;
mod random;
mod resume;
mod run;
mod sky;
