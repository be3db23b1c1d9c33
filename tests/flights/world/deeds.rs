//! What is done from outside of the vehicles: work, orders, faults of agents, network and hub.

use super::*;

impl World {
    pub(super) fn do_deed(&mut self, deed: Deed) {
        if !matches!(deed, Deed::Submit(_)) {
            note!(self.agenda, "! {deed:?}");
        }
        if let Some(what) = met::deed(&deed).filter(|_| self.meets_a_flight(&deed)) {
            self.judge.met.note(what);
        }
        match deed {
            Deed::Submit(work) => self.submit(work),
            Deed::Kill { dock, down } => {
                if self.docks[dock].agent.is_there() {
                    self.docks[dock].agent.kill();
                    self.judge.killed(dock, self.agenda.now());
                    self.after_run(dock);
                    self.agenda.after(down, Event::Start(dock));
                }
            }
            Deed::Terminate { dock, down } => {
                if self.docks[dock].agent.can_act() {
                    self.judge.stopping(dock, self.agenda.now());
                    self.docks[dock].agent.terminate();
                    self.run_dock(dock);
                    self.agenda.after(down, Event::Start(dock));
                }
            }
            Deed::Freeze { dock, span } => {
                if self.docks[dock].agent.can_act() {
                    self.docks[dock].agent.frozen = true;
                    self.judge.killed(dock, self.agenda.now());
                    self.agenda.after(span, Event::Thaw(dock));
                }
            }
            Deed::Partition { dock, span, silent } => {
                if !self.ways.is_cut(dock) {
                    self.judge.partitioned(dock, self.agenda.now(), span);
                    self.judge.network_failed(dock, self.agenda.now());
                    self.ways.cut(dock, silent);
                    self.agenda.after(span, Event::Connect(dock));
                }
            }
            Deed::HubCrash { down } => self.crash_hub(down),
            Deed::Backup => self.backup = Some(self.hub.ledger().clone()),
            Deed::Restore { down } => {
                if let Some(backup) = self.backup.clone().filter(|_| self.hub.is_up()) {
                    self.crash_hub(down);
                    self.hub.put_back(backup);
                }
            }
            Deed::Delete { dispatch } => {
                if let Some(process_id) = self.dispatched.get(dispatch).cloned() {
                    let delete = protocol::Request::DeleteProcess { process_id };
                    self.hub.ask(SUBMITTER, delete);
                    self.after_hub();
                }
            }
        }
    }

    /// Whether something that is done meets a vehicle in the air that it is about.
    fn meets_a_flight(&self, deed: &Deed) -> bool {
        let flies = |dock: usize| self.docks[dock].truth().airborne();
        match deed {
            Deed::Kill { dock, .. } => flies(*dock) && self.docks[*dock].agent.is_there(),
            Deed::Terminate { dock, .. } | Deed::Freeze { dock, .. } => {
                let there = &self.docks[*dock];
                flies(*dock) && there.agent.can_act()
            }
            Deed::Partition { dock, .. } => flies(*dock) && !self.ways.is_cut(*dock),
            Deed::HubCrash { .. } => self.hub.is_up() && (0..self.docks.len()).any(flies),
            Deed::Restore { .. } => {
                self.hub.is_up() && self.backup.is_some() && (0..self.docks.len()).any(flies)
            }
            Deed::Delete { dispatch } if self.hub.is_up() => self
                .dispatched
                .get(*dispatch)
                .and_then(|id| self.judge.flown_now(id))
                .is_some_and(flies),
            Deed::Submit(_) | Deed::Backup | Deed::Delete { .. } => false,
        }
    }

    pub(super) fn submit(&mut self, work: Work) {
        let answer = self
            .hub
            .ask(SUBMITTER, protocol::Request::Submit(Box::new(self.spec(&work))));
        let Some(Ok(Answer::Process(process))) = answer else {
            self.planned += 1;
            self.agenda.after(AGAIN, Event::Deed(Deed::Submit(work)));
            return;
        };
        note!(self.agenda, "submitted as {}: {work:?}", process.id);
        if work.verb == "dispatch" {
            self.dispatched.push(process.id.clone());
        }
        let docks = &self.docks;
        let airborne = |dock: usize| docks[dock].truth().airborne();
        self.judge
            .submitted(&process.id, &work, self.agenda.now(), airborne);
        self.after_hub();
    }

    pub(super) fn spec(&self, work: &Work) -> ProcessSpec {
        let control = work.verb != "dispatch";
        let only = work.dock.map(|dock| {
            let ids = &self.docks[dock].ids;
            if control { &ids.control } else { &ids.work }.to_string()
        });
        ProcessSpec {
            func: format!("drone.{}", work.verb),
            args: Some(work.args.clone()),
            max_wait_time: if control { 10 } else { -1 },
            max_exec_time: work.lease,
            max_retries: work.retries,
            conditions: Conditions {
                colony_id: COLONY.to_owned(),
                runtime_type: if control {
                    control_of(DOCK)
                } else {
                    DOCK.to_owned()
                },
                runtime_ids: only.into_iter().collect(),
                ..Conditions::default()
            },
            ..ProcessSpec::default()
        }
    }
}
