//! Edges: what they are called, and where they are told.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use super::settings::Submit;
use crate::clock::BootTime;
use crate::device::gpio::Level;

/// A change of an input's debounced level, by its logical meaning: with `active_low` a rising edge is a falling voltage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// It came on.
    Rising,
    /// It went off.
    Falling,
}

impl Edge {
    /// The edge that leads to a level.
    pub fn to(level: Level) -> Self {
        match level {
            Level::On => Edge::Rising,
            Level::Off => Edge::Falling,
        }
    }

    /// The level from then on.
    pub fn level(self) -> Level {
        match self {
            Edge::Rising => Level::On,
            Edge::Falling => Level::Off,
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Edge::Rising => "rising",
            Edge::Falling => "falling",
        })
    }
}

/// Which edges are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Edges {
    /// `rising` or `on`.
    Rising,
    /// `falling` or `off`.
    Falling,
    /// `both` or `change`.
    Both,
}

impl Edges {
    /// Whether an edge is one of them.
    pub fn contain(self, edge: Edge) -> bool {
        match self {
            Edges::Rising => edge == Edge::Rising,
            Edges::Falling => edge == Edge::Falling,
            Edges::Both => true,
        }
    }
}

impl fmt::Display for Edges {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Edges::Rising => "rising edge",
            Edges::Falling => "falling edge",
            Edges::Both => "edge",
        })
    }
}

/// What is no edge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no edge: write rising (or on), falling (or off), or both (or change)")]
pub struct UnknownEdge(String);

impl FromStr for Edges {
    type Err = UnknownEdge;

    fn from_str(text: &str) -> Result<Self, UnknownEdge> {
        Ok(match text {
            "rising" | "on" => Edges::Rising,
            "falling" | "off" => Edges::Falling,
            "both" | "change" => Edges::Both,
            _ => return Err(UnknownEdge(text.to_owned())),
        })
    }
}

impl TryFrom<String> for Edges {
    type Error = UnknownEdge;

    fn try_from(text: String) -> Result<Self, UnknownEdge> {
        text.parse()
    }
}

/// An edge for which the configuration asks that a process be submitted. Devices know no servers: whoever takes this does it.
#[derive(Debug, Clone)]
pub struct EdgeEvent {
    /// The device.
    pub input: Arc<str>,
    /// Which edge.
    pub edge: Edge,
    /// When, in boot time. From here on the time counts within which it may be submitted.
    pub at: BootTime,
    /// What the device's table says, all of it: whoever takes this looks which rules are for this edge.
    pub submit: Arc<[Submit]>,
}

/// Takes edges. Called from the input's owner task: must not block.
pub type EdgeSink = Arc<dyn Fn(EdgeEvent) + Send + Sync>;
