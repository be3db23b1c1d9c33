//! Runtimes that wait for work, in order of arrival.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::oneshot;

use super::delivery::Reply;
use crate::clock::BootTime;
use crate::hub::ledger::Record;

/// A runtime that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) caller: String,
    pub(super) colony_id: String,
    pub(super) runtime_type: String,
    pub(super) latest: bool,
    pub(super) until: BootTime,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Waiter {
    fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }
}

/// (colony, type)
type Line = (String, String);

/// All that wait. A number names a waiter and is its place in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    lines: HashMap<Line, BTreeMap<u64, Waiter>>,
    timeouts: BTreeMap<(BootTime, u64), Line>,
    arrived: u64,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.timeouts.len()
    }

    pub(super) fn add(&mut self, waiter: Waiter) {
        self.arrived += 1;
        let line = (waiter.colony_id.clone(), waiter.runtime_type.clone());
        self.timeouts.insert((waiter.until, self.arrived), line.clone());
        self.lines.entry(line).or_default().insert(self.arrived, waiter);
    }

    /// The first moment at which one has waited long enough.
    pub(super) fn first_timeout(&self) -> Option<BootTime> {
        self.timeouts.first_key_value().map(|((until, _), _)| *until)
    }

    fn remove(&mut self, line: &Line, number: u64) -> Option<Waiter> {
        let in_line = self.lines.get_mut(line)?;
        let waiter = in_line.remove(&number)?;
        if in_line.is_empty() {
            self.lines.remove(line);
        }
        self.timeouts.remove(&(waiter.until, number));
        Some(waiter)
    }

    fn remove_all(&mut self, wanted: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let mut numbers: Vec<(u64, Line)> = Vec::new();
        for (line, in_line) in &self.lines {
            let hits = in_line.iter().filter(|(_, waiter)| wanted(waiter));
            numbers.extend(hits.map(|(number, _)| (*number, line.clone())));
        }
        numbers.sort_unstable();
        let removed = numbers
            .iter()
            .filter_map(|(number, line)| self.remove(line, *number));
        removed.collect()
    }

    /// Takes out those that have waited long enough.
    pub(super) fn timed_out(&mut self, now: BootTime) -> Vec<Waiter> {
        let mut done = Vec::new();
        while let Some(((until, number), line)) = self.timeouts.pop_first() {
            if until > now {
                self.timeouts.insert((until, number), line);
                break;
            }
            done.extend(self.remove(&line, number));
        }
        done
    }

    /// Takes out the first that is still there and may have the process.
    pub(super) fn first_for(&mut self, record: &Record) -> Option<Waiter> {
        let conditions = &record.process.spec.conditions;
        let line = (conditions.colony_id.clone(), conditions.runtime_type.clone());
        let in_line = self.lines.get(&line)?;
        let gone: Vec<u64> = in_line
            .iter()
            .take_while(|(_, waiter)| waiter.is_gone() || !record.is_for(&waiter.caller))
            .filter(|(_, waiter)| waiter.is_gone())
            .map(|(number, _)| *number)
            .collect();
        let first = in_line
            .iter()
            .find(|(_, waiter)| !waiter.is_gone() && record.is_for(&waiter.caller))
            .map(|(number, _)| *number);
        for number in gone {
            self.remove(&line, number);
        }
        first.and_then(|number| self.remove(&line, number))
    }

    /// Forgets those whose caller hung up.
    pub(super) fn sweep(&mut self) {
        self.remove_all(Waiter::is_gone);
    }

    /// Takes out those of a runtime.
    pub(super) fn of_runtime(&mut self, runtime_id: &str) -> Vec<Waiter> {
        self.remove_all(|waiter| waiter.caller == runtime_id)
    }

    /// Takes out those of a colony.
    pub(super) fn of_colony(&mut self, colony_id: &str) -> Vec<Waiter> {
        self.remove_all(|waiter| waiter.colony_id == colony_id)
    }

    /// Takes out all.
    pub(super) fn all(&mut self) -> Vec<Waiter> {
        self.remove_all(|_| true)
    }
}
