//! The network: what is lost or cut off on its way, and who is lied to.

use super::*;

impl World {
    pub(super) fn delay(&mut self) -> Duration {
        Duration::from_micros(self.dice.between(100, 30_000))
    }

    /// Whether a packet of a dock is lost.
    pub(super) fn loses(&mut self, dock: usize) -> bool {
        let lost = self.dice.in_thousand(self.plan.lost);
        if lost {
            self.judge.network_failed(dock, self.agenda.now());
        }
        lost
    }

    pub(super) fn send(&mut self, request: Request) {
        let Request {
            id,
            machine: dock,
            caller,
            body,
            reply,
            ..
        } = request;
        let (kind, request) = SimulatedHub::read(&body);
        note!(self.agenda, "dock {dock} > {id} {kind:?} {request:?}");
        self.ways.leave(id, dock, kind, reply);
        if let Some(lie) = self.lie(dock, &request) {
            self.agenda
                .after(Duration::from_millis(1), Event::Reach(id, Ok(lie)));
            return;
        }
        if self.ways.is_cut(dock) {
            if self.ways.refuses(dock) {
                self.agenda
                    .after(Duration::from_millis(1), Event::Reach(id, Err(refused())));
            }
            return;
        }
        if self.loses(dock) {
            self.lose(id);
            return;
        }
        let arriving = Arriving {
            id,
            dock,
            caller,
            kind,
            request,
        };
        let delay = self.delay();
        self.agenda.after(delay, Event::Arrive(arriving));
    }

    /// What a dock is told that does not ask whether it may arm and start.
    pub(super) fn lie(&self, dock: usize, request: &protocol::Request) -> Option<net::Answer> {
        let protocol::Request::GetProcess { process_id } = request else {
            return None;
        };
        if self.around.broken != Some(Broken::NoConfirm) || self.docks[dock].truth().airborne() {
            return None;
        }
        let process = self.assigned.get(&(dock, process_id.clone()))?;
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
            dock,
            caller,
            kind,
            request,
        } = arriving;
        if self.ways.is_cut(dock) {
            return;
        }
        if !self.hub.is_up() {
            self.agenda
                .after(Duration::from_millis(1), Event::Reach(id, Err(refused())));
            return;
        }
        if let Some((id, answer)) = self.hub.arrive(id, &caller, kind, request) {
            self.answered(id, answer);
        }
        self.after_hub();
    }

    /// Sends an answer home.
    pub(super) fn answered(&mut self, id: u64, answer: net::Answer) {
        let Some(dock) = self.ways.asker(id) else {
            note!(self.agenda, "the answer to {id} finds nobody");
            return;
        };
        if self.ways.is_cut(dock) {
            return;
        }
        if self.loses(dock) {
            self.lose(id);
            return;
        }
        let delay = self.delay();
        self.agenda.after(delay, Event::Reach(id, Ok(answer)));
    }

    pub(super) fn reach(&mut self, id: u64, reply: Reply) {
        let Some(asked) = self.ways.come_home(id, &reply) else {
            return;
        };
        let dock = asked.machine;
        if let (Some(_), protocol::Kind::Assign, Ok(answer)) = (self.around.broken, asked.kind, &reply)
            && let Some(process) = SimulatedHub::assigned(answer)
        {
            self.assigned.insert((dock, process.id.clone()), process);
        }
        match &reply {
            Ok(answer) => note!(
                self.agenda,
                "dock {dock} < {id} {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ),
            Err(error) => note!(self.agenda, "dock {dock} < {id} {error:?}"),
        }
        let _ = asked.reply.send(reply);
        self.run_dock(dock);
    }
}
