//! What the world tells.

use super::*;

/// How soon an order that was submitted must show in the vehicle's mode.
const ORDERED: Duration = Duration::from_secs(2);
/// The same for SIGTERM: two seconds of grace come first.
const STOPPED: Duration = Duration::from_secs(6);
/// The same for a server that can't be reached: 30 s by default, from the last answered question.
const LOST: Duration = Duration::from_secs(40);

impl Judge {
    /// A process was submitted.
    pub fn submitted(&mut self, id: &str, work: &Work, now: Moment, is_airborne: impl Fn(usize) -> bool) {
        let process = Process {
            verb: work.verb,
            lease: work.lease,
            dock: work.dock,
            state: Some(ProcessState::Waiting),
            runs: None,
            assigned: None,
            lease_end: None,
            over: None,
            ordered: None,
            began: None,
            hands_off: false,
            uploaded: false,
        };
        self.processes.insert(id.to_owned(), process);
        if let (Some(dock), "abort" | "land") = (work.dock, work.verb)
            && is_airborne(dock)
        {
            self.met.note("in the air: an order");
            let (lands, why) = match work.verb {
                "land" => (true, "judged: down after a land"),
                _ => (false, "judged: down after an abort"),
            };
            let queued = |process: &&Process| {
                process.verb == "dispatch"
                    && process.dock == Some(dock)
                    && process.state == Some(ProcessState::Waiting)
            };
            if self.processes.values().filter(queued).count() >= 5 {
                self.met.note("in the air: an order behind five dispatches");
            }
            self.expect_down(dock, now, ORDERED, (lands, true, true), why);
        }
    }

    /// A device began a dispatch.
    pub fn began(&mut self, began: &Began) {
        self.docks[began.dock].process = Some(began.process.clone());
        if let Some(process) = self.processes.get_mut(&began.process) {
            process.began = Some(began.at);
            process.dock = Some(began.dock);
            process.uploaded = false;
        }
    }

    /// An agent is there, or not.
    pub fn agent(&mut self, dock: usize, is_up: bool, now: Moment) {
        self.docks[dock].agent_is_up = is_up;
        self.docks[dock].agent_missed = now;
    }

    /// Something on the way between a dock and the server failed.
    pub fn network_failed(&mut self, dock: usize, now: Moment) {
        self.docks[dock].network_failed = now;
    }

    /// An agent can't do anything any more, whatever it was about to do.
    pub fn killed(&mut self, dock: usize, now: Moment) {
        self.agent(dock, false, now);
        self.expected.retain(|expected| expected.dock != dock);
    }

    /// An agent was told to stop.
    pub fn stopping(&mut self, number: usize, now: Moment) {
        let dock = &self.docks[number];
        if dock.agent_is_up && dock.agent_missed.after(KNOWS) < now {
            self.expect_down(
                number,
                now,
                STOPPED,
                (false, false, false),
                "judged: down after SIGTERM",
            );
        }
        self.agent(number, false, now);
    }

    /// A dock reaches the server no more, for so long.
    pub fn partitioned(&mut self, dock: usize, now: Moment, span: Duration) {
        if span > LOST {
            self.expect_down(
                dock,
                now,
                LOST,
                (false, true, false),
                "judged: down after the server was lost",
            );
        }
    }
}
