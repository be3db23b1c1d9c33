//! What a judge says of a seed, and all that was said of many.

use std::collections::BTreeMap;
use std::fmt;

use super::clock::Moment;

/// A promise that was broken; each world has its own kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation<Kind> {
    pub at: Moment,
    pub kind: Kind,
    pub text: String,
}

impl<Kind: fmt::Debug> fmt::Display for Violation<Kind> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}: {}", self.at, self.kind, self.text)
    }
}

/// The first violation of each seed that had one.
#[derive(Debug)]
pub struct Failed<Kind>(BTreeMap<u64, Violation<Kind>>);

impl<Kind> Default for Failed<Kind> {
    fn default() -> Self {
        Failed(BTreeMap::new())
    }
}

impl<Kind: Copy + Ord + fmt::Debug> Failed<Kind> {
    /// What was said of one more seed.
    pub fn add(&mut self, seed: u64, violations: Vec<Violation<Kind>>) {
        if let Some(violation) = violations.into_iter().next() {
            self.0.insert(seed, violation);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How often a promise was broken first.
    pub fn kinds(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for violation in self.0.values() {
            *kinds.entry(violation.kind).or_insert(0) += 1;
        }
        kinds
    }

    /// The first seed by which a promise of that kind was broken first.
    pub fn first(&self, kind: Kind) -> Option<(u64, &Violation<Kind>)> {
        let mut all = self.0.iter();
        let found = all.find(|(_, violation)| violation.kind == kind);
        found.map(|(seed, violation)| (*seed, violation))
    }

    /// Writes each with the plan of its seed.
    pub fn write<Plan: fmt::Display>(
        &self,
        out: &mut fmt::Formatter<'_>,
        plan: impl Fn(u64) -> Plan,
    ) -> fmt::Result {
        for (seed, violation) in &self.0 {
            writeln!(out, "{}{violation}\n", plan(*seed))?;
        }
        Ok(())
    }
}
