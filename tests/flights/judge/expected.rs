//! What has to be looked at later.

use super::*;

/// How long it takes until an agent whose network failed is certain to listen again: a poll, its deadline, a pause.
const LISTENS: Duration = Duration::from_secs(50);

impl Judge {
    pub(super) fn expect_down(
        &mut self,
        dock: usize,
        since: Moment,
        patience: Duration,
        (lands, needs_agent, needs_network): (bool, bool, bool),
        why: &'static str,
    ) {
        let Some(flight) = self.docks[dock].flights.len().checked_sub(1) else {
            return;
        };
        if self.docks[dock].flights[flight].took_off.is_none() {
            return;
        }
        self.expected.push(Expected {
            at: since.after(patience + self.slack[dock]),
            since,
            dock,
            what: What::Down {
                flight,
                lands,
                needs_agent,
                needs_network,
                why,
            },
        });
    }

    /// Looks at what is due.
    pub fn tick(&mut self, number: usize, truth: &Truth, mission: usize, now: Moment) {
        let mut index = 0;
        while let Some(expected) = self.expected.get(index) {
            if expected.dock != number || expected.at > now {
                index += 1;
                continue;
            }
            let expected = self.expected.swap_remove(index);
            self.check_expected(&expected, truth, mission, now);
        }
    }

    fn check_expected(&mut self, expected: &Expected, truth: &Truth, mission: usize, now: Moment) {
        let dock = &self.docks[expected.dock];
        let calm = dock.troubled_until < expected.since;
        let agent = dock.agent_is_up && dock.agent_missed.after(KNOWS) < expected.since;
        match &expected.what {
            What::Down {
                flight,
                lands,
                needs_agent,
                needs_network,
                why,
            } => {
                let network =
                    dock.network_failed == Moment(0) || dock.network_failed.after(LISTENS) < expected.since;
                let same = *flight + 1 == dock.flights.len() && dock.flights[*flight].troubles == 0;
                if !calm || (*needs_agent && !agent) || (*needs_network && !network) || !same {
                    return;
                }
                self.orders_checked += 1;
                self.met.note(why);
                let comes = matches!((truth.mode, lands), (Mode::Land, _) | (Mode::Return, false));
                if truth.airborne() && !comes {
                    let text = format!("{why} at {}, and it is in mode {}", expected.since, truth.mode);
                    self.accuse(now, Kind::Deaf, text);
                }
            }
            What::Cleared { process, error } => {
                let same = dock.process.as_deref() == Some(process);
                if calm && agent && same {
                    self.met.note("judged: cleared");
                    if mission > 0 {
                        let text = format!("{mission} items are left; {process} failed: {error}");
                        self.accuse(now, Kind::Left, text);
                    }
                }
            }
        }
    }
}
