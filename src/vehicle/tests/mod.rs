//! The vehicle is asked as a ground station asks.

mod failsafes;
mod flights;
mod quirks;
mod served;
mod station;
mod troubles;
