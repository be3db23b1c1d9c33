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
        self.now > Moment(1_000_000_000).after(self.plan.calm)
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
        note!(self, "machine {machine} > {id} {kind:?} {request:?}");
        self.flying.insert(id, Flying { machine, kind, reply });
        if let Some(lie) = self.lie(machine, &request) {
            self.after(Duration::from_millis(1), Event::Reach(id, Ok(lie)));
            return;
        }
        if let Some(partition) = self.partitions[machine] {
            if !partition.silent {
                let refused = TransportError::Unreachable(Unreachable::Refused);
                self.after(Duration::from_millis(1), Event::Reach(id, Err(refused)));
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
            self.after(later, Event::Arrive(copy));
        }
        let original = arriving(false, id);
        self.after(delay, Event::Arrive(original));
    }

    /// What a machine whose fence is broken is told instead of asking: that a process is still its own.
    pub(super) fn lie(
        &self,
        machine: usize,
        request: &protocol::Request,
    ) -> Option<crate::simulated::net::Answer> {
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
        note!(self, "lost: {id}");
        if self.dice.in_thousand(500) {
            let delay = self.delay();
            self.after(delay, Event::Reach(id, Err(reset())));
        }
    }

    pub(super) fn hung_up(&mut self, id: u64) {
        let Some(flying) = self.flying.remove(&id) else {
            return;
        };
        // Over a broken network the server never learns of it.
        if self.partitions[flying.machine].is_none() {
            let delay = self.delay();
            self.after(delay, Event::HangUp(id));
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
        if self.partitions[machine].is_some() {
            return;
        }
        if !self.hub.is_up() {
            let refused = TransportError::Unreachable(Unreachable::Refused);
            self.after(Duration::from_millis(1), Event::Reach(id, Err(refused)));
            return;
        }
        if !copy && !self.flying.contains_key(&id) {
            // Hung up before it arrived: executed all the same.
            note!(self, "{id} arrives although nobody waits");
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
                protocol::Kind::GetProcess => self.witness.asked(&process, machine, self.now),
                _ if !self.witness.is_running(&process) => {
                    self.witness
                        .closed_as_successful(&process, machine, sent, self.now);
                }
                _ => {}
            }
        }
    }

    /// Sends an answer home.
    pub(super) fn answered(&mut self, id: u64, answer: crate::simulated::net::Answer) {
        let Some(machine) = self.flying.get(&id).map(|flying| flying.machine) else {
            note!(self, "the answer to {id} finds nobody");
            return;
        };
        note!(
            self,
            "hub > {id} (machine {machine}) {}",
            String::from_utf8_lossy(&answer.body)
        );
        if self.partitions[machine].is_some() {
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
        self.after(delay, Event::Reach(id, reply));
    }

    pub(super) fn reach(&mut self, id: u64, reply: Reply) {
        let Some(machine) = self.flying.get(&id).map(|flying| flying.machine) else {
            return;
        };
        let broken_on_the_way = self.partitions[machine].is_some() && reply.is_ok();
        if broken_on_the_way {
            return;
        }
        if let Some(flying) = self.flying.remove(&id) {
            if let (Some(_), protocol::Kind::Assign, Ok(answer)) = (self.broken, flying.kind, &reply)
                && let Some(process) = SimulatedHub::assigned(answer)
            {
                let key = (machine, process.id.clone());
                self.assigned.entry(key).or_default().push(process);
            }
            note!(
                self,
                "machine {machine} < {id} {}",
                if reply.is_ok() { "answer" } else { "trouble" }
            );
            let _ = flying.reply.send(reply);
            self.run_machine(machine);
        }
    }
}
