//! What the ledger has, and what follows from that.

use super::*;

/// The same where the agent has to find out by itself: it asks every five seconds.
const SUPERVISED: Duration = Duration::from_secs(9);
/// After so long it is known who chose a mode.
const NOTICED: Duration = Duration::from_secs(8);
/// How long a vehicle may keep a mission after its process was closed.
const CLEARED: Duration = Duration::from_secs(8);

impl Judge {
    /// Reads the ledger after it may have changed.
    pub fn look(&mut self, ledger: &MemoryStore, clock: &SimulatedClock, now: Moment) {
        let ids: Vec<String> = self.processes.keys().cloned().collect();
        for id in ids {
            let record = ledger.record(&id).unwrap();
            let state = record.as_ref().map(|record| record.process.state);
            let runs = record.as_ref().and_then(|record| {
                (record.process.state == ProcessState::Running)
                    .then(|| record.process.assigned_runtime_id.clone())
            });
            let process = self.processes.get_mut(&id).unwrap();
            let before = (process.state, process.runs.clone());
            if before == (state, runs.clone()) {
                continue;
            }
            process.state = state;
            process.runs = runs;
            if let Some(record) = record.as_ref().filter(|_| process.runs.is_some()) {
                process.over = None;
                process.ordered = None;
                if process.assigned.replace(now).is_some() {
                    self.met.note("handed out again");
                }
                let dock = process.dock.filter(|_| process.verb == "dispatch");
                let flight = dock.and_then(|dock| self.docks[dock].flights.last());
                if flight.is_some_and(|flight| flight.is_up() && flight.process.as_ref() != Some(&id)) {
                    self.met.note("handed out while another flies");
                }
                process.lease_end = record.lease_due.map(|due| clock.moment_of(due));
            } else if before.1.is_some() {
                process.over = Some(now);
            }
            let text = record.map(|record| record.process.error_message);
            self.changed(&id, text.unwrap_or_default(), now);
        }
    }

    fn changed(&mut self, id: &str, error: String, now: Moment) {
        let process = &self.processes[id];
        let Some(dock) = process.dock else { return };
        match (process.verb, process.state) {
            ("dispatch", Some(ProcessState::Successful)) => self.check_success(id, now),
            ("dispatch", Some(ProcessState::Failed)) => self.check_failure(id, dock, &error, now),
            ("dispatch", None) => {
                let current = self.docks[dock].process.as_deref() == Some(id);
                if current && process.began.is_some() {
                    self.expect_down(
                        dock,
                        now,
                        SUPERVISED,
                        (false, true, true),
                        "judged: down after a deletion",
                    );
                }
            }
            ("abort" | "land", Some(ProcessState::Successful)) => {
                let assigned = process.assigned.unwrap_or(now);
                for other in self.processes.values_mut() {
                    let begun = other.began.is_some_and(|began| began < assigned);
                    if other.verb == "dispatch" && other.dock == Some(dock) && begun && other.over.is_none() {
                        other.ordered.get_or_insert(now);
                    }
                }
            }
            _ => {}
        }
    }

    /// By which dock a process is flown now.
    pub fn flown_now(&self, id: &str) -> Option<usize> {
        self.docks.iter().position(|dock| {
            let flight = dock.flights.last();
            flight.is_some_and(|flight| flight.is_up() && flight.process.as_deref() == Some(id))
        })
    }

    pub(super) fn flights_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a Dock, &'a Flight)> {
        self.docks.iter().flat_map(move |dock| {
            let flights = dock.flights.iter();
            flights
                .filter(move |flight| flight.process.as_deref() == Some(id))
                .map(move |flight| (dock, flight))
        })
    }

    fn check_success(&mut self, id: &str, now: Moment) {
        let flown: Vec<_> = self
            .flights_of(id)
            .filter(|(_, flight)| flight.took_off.is_some())
            .collect();
        let well = matches!(flown.as_slice(), [(_, flight)] if flight.piloted.is_none() && flight.is_over);
        if well {
            self.met.note("judged: flown as planned");
        } else {
            let text = format!("{id} was closed as successful after {flown:?}");
            self.accuse(now, Kind::False, text);
        }
    }

    fn check_failure(&mut self, id: &str, dock: usize, error: &str, now: Moment) {
        let flown = self.flights_of(id).any(|(_, flight)| flight.took_off.is_some());
        if !flown && self.processes[id].uploaded {
            self.expected.push(Expected {
                at: now.after(CLEARED + self.slack[dock]),
                since: now,
                dock,
                what: What::Cleared {
                    process: id.to_owned(),
                    error: error.to_owned(),
                },
            });
        }
        if flown && error.contains("the time that is left") {
            self.met.note("judged: turned back for its lease");
        }
        let piloted = self.flights_of(id).find_map(|(dock, flight)| {
            let (at, _) = flight.piloted?;
            let alone = flight.troubles == 1 && dock.agent_missed < at;
            (alone && dock.agent_is_up).then_some(at)
        });
        let by_server = self.processes[id].lease_end.is_some_and(|end| now >= end);
        let Some(at) = piloted.filter(|_| !by_server) else {
            return;
        };
        let process = self.processes.get_mut(id).unwrap();
        if error.contains("hands off") {
            process.hands_off = true;
            self.met.note("judged: a pilot is named");
        } else if !process.hands_off && now > at.after(NOTICED) {
            let text = format!("a pilot took over at {at}, and {id} failed of: {error}");
            self.accuse(now, Kind::Unsaid, text);
        }
    }
}
