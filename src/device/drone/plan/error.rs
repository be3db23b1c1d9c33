//! Why a plan can't be flown. Nothing was done then.

use super::super::geo::Position;
use super::{GEOJSON, MOST_STEPS, PLAN};

/// Why a plan can't be flown.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Nowhere to go.
    #[error(
        "no target is given: write LAT,LON,ALT, or give a document as {GEOJSON} or {PLAN} in the environment"
    )]
    Empty,
    /// An argument that is no target.
    #[error(
        "{text:?} is no target: {problem}; write LAT,LON,ALT[,HOLD[,SPEED]] in degrees, metres above home, seconds and metres a second"
    )]
    Argument {
        /// What was written.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Arguments beside a document.
    #[error("{text:?} stands beside a document: only `return` or `land` may, which says how the flight ends")]
    ArgumentBesideDocument {
        /// The argument.
        text: String,
    },
    /// `GEOJSON` and `PLAN`.
    #[error("both {GEOJSON} and {PLAN} are given; give one of them")]
    TwoDocuments,
    /// A document that can't be read, or says what is not flown.
    #[error("{document}: {place}: {problem}")]
    Document {
        /// `GEOJSON` or `PLAN`.
        document: &'static str,
        /// Where in it: `mission.items[3]`.
        place: String,
        /// What is wrong there, and what to do.
        problem: String,
    },
    /// More steps than can be uploaded.
    #[error("the plan has {steps} steps, at most {MOST_STEPS} can be flown")]
    TooLong {
        /// So many.
        steps: usize,
    },
    /// Take-off in the middle, a landing before the end.
    #[error(
        "step {step} is out of order: a plan begins with a take-off and ends with a return or a landing, and has neither in between"
    )]
    Order {
        /// Counted from 1.
        step: usize,
    },
    /// Too high.
    #[error(
        "step {step}: an altitude of {altitude:.1} m above home is not from {least:.0} to {most:.0} m (max_altitude)"
    )]
    Altitude {
        /// Counted from 1.
        step: usize,
        /// Metres above home.
        altitude: f64,
        /// The lowest allowed.
        least: f64,
        /// The highest allowed.
        most: f64,
    },
    /// Too far.
    #[error(
        "step {step}: {at} is {distance:.0} m from home ({home}), at most {most:.0} m are allowed (max_distance)"
    )]
    Distance {
        /// Counted from 1.
        step: usize,
        /// Where.
        at: Position,
        /// Home.
        home: Position,
        /// Metres.
        distance: f64,
        /// The most allowed.
        most: f64,
    },
    /// Too fast.
    #[error("step {step}: a speed of {speed:.1} m/s is not from {least:.1} to {most:.1} m/s (max_speed)")]
    Speed {
        /// Counted from 1.
        step: usize,
        /// Metres a second.
        speed: f64,
        /// The slowest allowed.
        least: f64,
        /// The fastest allowed.
        most: f64,
    },
    /// Too long in one place.
    #[error("step {step}: a hold of {seconds} s is too long, at most {most} s")]
    Hold {
        /// Counted from 1.
        step: usize,
        /// Seconds.
        seconds: u64,
        /// The longest allowed.
        most: u64,
    },
    /// Home is outside of the fence.
    #[error("home ({home}) is outside of the fence: check the fence, and what the autopilot takes for home")]
    HomeOutside {
        /// Home.
        home: Position,
    },
    /// A point outside of the fence.
    #[error("step {step}: {at} is outside of the fence")]
    Outside {
        /// Counted from 1.
        step: usize,
        /// Where.
        at: Position,
    },
    /// A leg that leaves the fence.
    #[error("step {step}: the way from {from} to {to} leaves the fence; add a point that goes around")]
    Leg {
        /// Counted from 1.
        step: usize,
        /// From where.
        from: Position,
        /// To where.
        to: Position,
    },
    /// A way home that leaves the fence.
    #[error(
        "step {step}: from the way to {to} the straight way home leaves the fence, and the drone may have to return at any moment; choose another way"
    )]
    WayHome {
        /// Counted from 1.
        step: usize,
        /// The end of the leg.
        to: Position,
    },
}
