//! What happens to the vehicles.

use super::*;

/// How old a confirmation may be by which it is armed or started (docs/fence.md, 3), and what a step of the world adds.
const CONFIRMED: Duration = Duration::from_millis(1150);
/// Whatever happens to a vehicle or its wire lasts no longer (plan.rs).
const TROUBLE: Duration = Duration::from_secs(45);
/// A command given so long before the lease ends has brought it down by then.
const WAY_HOME: Duration = Duration::from_secs(150);
/// So many heartbeats are remembered.
const HEARTBEATS: usize = 20;
/// Two that are so far apart are not one and its copy.
const APART: Duration = Duration::from_millis(500);

const ARM: u16 = 400;
const START: u16 = 300;

impl Judge {
    /// What happened to a vehicle since it was last looked at.
    pub fn saw(
        &mut self,
        dock: usize,
        events: &[(Moment, Event)],
        heard: &[u32],
        truth: &Truth,
        now: Moment,
    ) {
        self.docks[dock].is_armed = truth.armed;
        for (at, event) in events {
            self.event(dock, *at, event);
        }
        // The agent has them after all that happened.
        let heartbeats = &mut self.docks[dock].heard;
        heartbeats.extend(heard.iter().map(|mode| (now, *mode)));
        let old = heartbeats.len().saturating_sub(HEARTBEATS);
        heartbeats.drain(..old);
        let told = &truth.commands[self.docks[dock].commands..];
        self.docks[dock].commands = truth.commands.len();
        for command in told {
            let name = match command.command {
                ARM if command.params[0] == 1.0 => "armed",
                START => "started",
                _ => continue,
            };
            self.check_allowed(dock, name, now);
        }
        self.check_aloft(dock, truth, now);
    }

    fn event(&mut self, dock: usize, at: Moment, event: &Event) {
        match event {
            Event::Armed => {
                let dock = &mut self.docks[dock];
                dock.flights.push(Flight {
                    process: dock.process.clone(),
                    took_off: None,
                    is_over: false,
                    piloted: None,
                    troubles: usize::from(at < dock.troubled_until),
                    aloft_said: false,
                });
            }
            Event::Disarmed => {
                if let Some(flight) = self.docks[dock].flights.last_mut() {
                    let process = flight.process.as_ref().and_then(|id| self.processes.get(id));
                    let in_time = process.is_some_and(|process| process.lease_end > Some(at));
                    if flight.is_up() && flight.troubles == 0 && in_time {
                        self.met.note("judged: down before the lease ends");
                    }
                    flight.is_over = true;
                }
            }
            Event::TakeOff => self.take_off(dock, at),
            Event::Uploaded("mission", length) if *length > 0 => {
                let process = self.docks[dock].process.as_ref();
                if let Some(process) = process.and_then(|id| self.processes.get_mut(id)) {
                    process.uploaded = true;
                }
            }
            Event::Mode(_, Cause::Command(..)) => {
                // Nobody at our end can know of a pilot whose mode no two heartbeats had told when the command left. One may
                // be a copy, or late.
                let reach = self.reach[dock];
                let there = &mut self.docks[dock];
                if let Some(flight) = there.flights.last_mut()
                    && let Some((chosen, mode)) = flight.piloted
                {
                    let told = there
                        .heard
                        .iter()
                        .filter(|(heard, told)| *told == mode && *heard > chosen && heard.after(reach) <= at);
                    let told: Vec<Moment> = told.map(|(heard, _)| *heard).collect();
                    let known = told.first().zip(told.last());
                    if known.is_none_or(|(first, last)| first.after(APART) > *last) {
                        flight.piloted = None;
                    }
                }
            }
            Event::Mode(mode, Cause::Pilot) => {
                let family = self.families[dock];
                let dock = &mut self.docks[dock];
                dock.piloted = true;
                if let (Mode::Stabilize | Mode::Loiter, Some(flight)) = (mode, dock.flights.last_mut())
                    && dock.is_armed
                {
                    flight.piloted.get_or_insert((at, mode.custom(family)));
                }
            }
            Event::Trouble(act) => {
                let dock = &mut self.docks[dock];
                let up = dock.flights.last().is_some_and(Flight::is_up);
                if let Some(what) = met::act(act).filter(|_| up) {
                    self.met.note(what);
                }
                if matches!(act, Act::Vehicle(Trouble::Battery(_))) {
                    return;
                }
                dock.troubled_until = at.after(TROUBLE);
                dock.troubles += 1;
                dock.rebooted |= matches!(act, Act::Vehicle(Trouble::Reboot));
                if let Some(flight) = dock.flights.last_mut() {
                    flight.troubles += 1;
                }
            }
            _ => {}
        }
    }

    fn take_off(&mut self, dock: usize, at: Moment) {
        self.take_offs += 1;
        for what in &self.flown[dock] {
            self.met.note(what);
        }
        let Some(flight) = self.docks[dock].flights.last_mut() else {
            return;
        };
        let process = flight.process.clone();
        let again = flight.took_off.replace(at);
        let Some(id) = process else {
            self.accuse(
                at,
                Kind::Forbidden,
                format!("dock {dock} took off for no process"),
            );
            return;
        };
        if let Some(process) = self.processes.get(&id)
            && process.lease <= SHORT_LEASE
        {
            self.met.note("flown on a short lease");
        }
        let count = self
            .flights_of(&id)
            .filter(|(_, flight)| flight.took_off.is_some())
            .count();
        if count > 1 || again.is_some() {
            self.accuse(at, Kind::Twice, format!("dock {dock} took off again for {id}"));
        }
    }

    fn check_allowed(&mut self, dock: usize, what: &str, now: Moment) {
        let id = self.docks[dock].process.clone().unwrap_or_default();
        let Some(process) = self.processes.get(&id) else {
            self.accuse(now, Kind::Forbidden, format!("dock {dock} was {what} for {id:?}"));
            return;
        };
        let allowed = CONFIRMED + self.slack[dock];
        let since = [process.over, process.ordered].into_iter().flatten().min();
        if let Some(since) = since.filter(|since| since.after(allowed) < now) {
            let text = format!("dock {dock} was {what} for {id}, which was over since {since}");
            self.accuse(now, Kind::Forbidden, text);
        }
    }

    fn check_aloft(&mut self, number: usize, truth: &Truth, now: Moment) {
        let dock = &self.docks[number];
        let Some(flight) = dock.flights.last().filter(|_| truth.airborne()) else {
            return;
        };
        if flight.aloft_said || flight.troubles > 0 {
            return;
        }
        let process = flight.process.as_ref().and_then(|id| self.processes.get(id));
        let Some(end) = process.and_then(|process| process.lease_end) else {
            return;
        };
        let missed = dock.agent_missed.after(WAY_HOME) > end && flight.took_off < Some(dock.agent_missed);
        if now <= end.after(Duration::from_millis(100)) || missed {
            return;
        }
        let text = format!(
            "dock {number} flies in mode {}; the lease ended at {end}: {flight:?}",
            truth.mode
        );
        self.docks[number].flights.last_mut().unwrap().aloft_said = true;
        self.accuse(now, Kind::Aloft, text);
    }
}
