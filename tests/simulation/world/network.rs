//! The network: what is lost, late, doubled or cut off on its way.

use super::*;

impl World {
    pub(super) fn delay(&mut self) -> Duration {
        let network = &self.plan.network;
        let slow = !self.is_calm() && self.dice.in_thousand(network.slow);
        if slow {
            let slowest = self.plan.network.slowest.as_micros() as u64;
            Duration::from_micros(self.dice.between(1000, slowest))
        } else {
            Duration::from_micros(self.dice.between(100, 12_000))
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.agenda.now() > START.after(self.plan.calm)
    }

    pub(super) fn goes_wrong(&mut self, cases: u64) -> bool {
        !self.is_calm() && self.dice.in_thousand(cases)
    }

    pub(super) fn send(&mut self, request: Request) {
        self.requests += 1;
        let Request {
            id,
            machine,
            caller,
            body,
            sent,
            reply,
        } = request;
        let (kind, request) = SimulatedHub::read(&body);
        note!(self.agenda, "machine {machine} > {id} {kind:?} {request:?}");
        self.ways.leave(id, machine, kind, reply);
        if let Some(lie) = self.lie(machine, &request) {
            self.agenda
                .after(Duration::from_millis(1), Event::Reach(id, Ok(lie)));
            return;
        }
        if self.ways.is_cut(machine) {
            if self.ways.refuses(machine) {
                self.agenda
                    .after(Duration::from_millis(1), Event::Reach(id, Err(refused())));
            }
            return;
        }
        if self.goes_wrong(self.plan.network.lost) {
            self.lose(id);
            return;
        }
        let arriving = |copy, id| Arriving {
            id,
            machine,
            caller: caller.clone(),
            sent,
            kind,
            request: request.clone(),
            copy,
        };
        let delay = self.delay();
        if self.goes_wrong(self.plan.network.doubled) {
            self.copies += 1;
            let later = delay + self.delay() + Duration::from_micros(1);
            let copy = arriving(true, u64::MAX - self.copies);
            self.agenda.after(later, Event::Arrive(copy));
        }
        let original = arriving(false, id);
        self.agenda.after(delay, Event::Arrive(original));
    }

    /// What a machine whose fence is broken is told instead of asking: that a process is still its own.
    pub(super) fn lie(&self, machine: usize, request: &protocol::Request) -> Option<net::Answer> {
        let protocol::Request::GetProcess { process_id } = request else {
            return None;
        };
        let assigned = self.assigned.get(&(machine, process_id.clone()))?;
        let process = match (self.broken, self.witness.last_performed(process_id, machine)) {
            (Some(Broken::NoConfirm), None) => assigned.last()?,
            (Some(Broken::OutboxWithoutAsking), Some((retries, true))) => {
                assigned.iter().rfind(|process| process.retries == retries)?
            }
            _ => return None,
        };
        Some(SimulatedHub::tell(Answer::Process(Box::new(process.clone()))))
    }

    /// Somebody's request or answer is gone: he hears of it soon, or waits for his own deadline.
    pub(super) fn lose(&mut self, id: u64) {
        note!(self.agenda, "lost: {id}");
        if self.dice.in_thousand(500) {
            let delay = self.delay();
            self.agenda.after(delay, Event::Reach(id, Err(reset())));
        }
    }

    pub(super) fn hung_up(&mut self, id: u64) {
        if self.ways.hang_up(id) {
            let delay = self.delay();
            self.agenda.after(delay, Event::HangUp(id));
        }
    }

    pub(super) fn arrive(&mut self, arriving: Arriving) {
        let Arriving {
            id,
            machine,
            caller,
            sent,
            kind,
            request,
            copy,
        } = arriving;
        if self.ways.is_cut(machine) {
            return;
        }
        if !self.hub.is_up() {
            self.agenda
                .after(Duration::from_millis(1), Event::Reach(id, Err(refused())));
            return;
        }
        if !copy && self.ways.asker(id).is_none() {
            // Hung up before it arrived: executed all the same.
            note!(self.agenda, "{id} arrives although nobody waits");
        }
        let subject = match &request {
            protocol::Request::GetProcess { process_id }
            | protocol::Request::CloseSuccessful { process_id } => Some(process_id.clone()),
            _ => None,
        };
        let running = subject
            .as_ref()
            .is_some_and(|process| self.witness.is_running(process));
        let said = self.hub.arrive(id, &caller, kind, request);
        if let Some((id, answer)) = said {
            self.answered(id, answer);
        }
        self.after_hub();
        if let Some(process) = subject.filter(|_| running) {
            match kind {
                protocol::Kind::GetProcess => self.witness.asked(&process, machine, self.agenda.now()),
                _ if !self.witness.is_running(&process) => {
                    self.witness
                        .closed_as_successful(&process, machine, sent, self.agenda.now());
                }
                _ => {}
            }
        }
    }

    /// Sends an answer home.
    pub(super) fn answered(&mut self, id: u64, answer: net::Answer) {
        let Some(machine) = self.ways.asker(id) else {
            note!(self.agenda, "the answer to {id} finds nobody");
            return;
        };
        note!(
            self.agenda,
            "hub > {id} (machine {machine}) {}",
            String::from_utf8_lossy(&answer.body)
        );
        if self.ways.is_cut(machine) {
            return;
        }
        if self.goes_wrong(self.plan.network.lost) {
            self.lose(id);
            return;
        }
        let delay = self.delay();
        let reply = match self.goes_wrong(self.plan.network.half_closed) {
            true => Err(reset()),
            false => Ok(answer),
        };
        self.agenda.after(delay, Event::Reach(id, reply));
    }

    pub(super) fn reach(&mut self, id: u64, reply: Reply) {
        let Some(asked) = self.ways.come_home(id, &reply) else {
            return;
        };
        let machine = asked.machine;
        if let (Some(_), protocol::Kind::Assign, Ok(answer)) = (self.broken, asked.kind, &reply)
            && let Some(process) = SimulatedHub::assigned(answer)
        {
            let key = (machine, process.id.clone());
            self.assigned.entry(key).or_default().push(process);
        }
        note!(
            self.agenda,
            "machine {machine} < {id} {}",
            if reply.is_ok() { "answer" } else { "trouble" }
        );
        let _ = asked.reply.send(reply);
        self.run_machine(machine);
    }
}
