//! What the simulated worlds share (tests/simulation, tests/flights): clocks, chance, network, hub and agents without real
//! time, by seed, and how many seeds are run. What happens in a world, and who judges it, is its own.
#![allow(dead_code)] // each world uses its part

pub mod agenda;
pub mod agent;
pub mod clock;
pub mod colony;
pub mod dice;
pub mod hub;
pub mod idle;
pub mod net;
pub mod seeds;
pub mod verdict;
pub mod ways;
