//! What goes wrong, and how it is repaired.

use super::*;

impl World {
    pub(super) fn break_something(&mut self, fault: Fault) {
        note!(self.agenda, "! {fault:?}");
        match fault {
            Fault::Kill { machine, down } => {
                if self.machines[machine].agent.is_there() {
                    self.machines[machine].agent.kill();
                    self.after_run(machine);
                    self.agenda.after(down, Event::Repair(Repair::Start(machine)));
                }
            }
            Fault::Terminate { machine, down } => {
                if self.machines[machine].agent.is_there() {
                    self.machines[machine].agent.terminate();
                    self.run_machine(machine);
                    self.agenda.after(down, Event::Repair(Repair::Start(machine)));
                }
            }
            Fault::Freeze { machine, span } => {
                if self.machines[machine].agent.can_act() {
                    self.machines[machine].agent.frozen = true;
                    self.agenda.after(span, Event::Repair(Repair::Thaw(machine)));
                }
            }
            Fault::PowerCut { machine, off } => self.cut_power(machine, off),
            Fault::PowerCutInWrite {
                machine,
                operations,
                span,
                off,
            } => {
                if !self.machines[machine].is_off {
                    self.machines[machine].disk.cut_after(operations);
                    self.machines[machine].off_for = off;
                    self.agenda
                        .after(span, Event::Fault(Fault::PowerCut { machine, off }));
                }
            }
            Fault::Disk { machine, fault, span } => {
                self.witness.may_forget(machine, self.agenda.now());
                self.machines[machine].disk.fail_after(0, fault);
                self.agenda.after(span, Event::Repair(Repair::Disk(machine)));
            }
            Fault::LoseJournal { machine, off } => {
                self.witness.may_forget(machine, Moment(0));
                self.cut_power(machine, off);
                self.machines[machine].loses_journal = true;
            }
            Fault::CloneCard { machine } => self.clone_card(machine),
            Fault::Partition {
                machine,
                span,
                silent,
            } => {
                if !self.ways.is_cut(machine) {
                    self.ways.cut(machine, silent);
                    self.agenda.after(span, Event::Repair(Repair::Connect(machine)));
                }
            }
            Fault::WallStep { machine, seconds } => self.machines[machine].clock.step_wall(seconds),
            Fault::HubCrash { down } => self.crash_hub(down, false),
            Fault::HubReboot { off } => self.crash_hub(off, true),
            Fault::HubWallStep { seconds } => self.hub.clock().step_wall(seconds),
            Fault::HubDisk { span } => {
                self.hub.set_broken(true);
                self.agenda.after(span, Event::Repair(Repair::HubDisk));
            }
            Fault::DeleteRuntime { machine, span } => {
                let (runtime_id, _) = self.identity(machine);
                self.hub
                    .ask(COLONY, protocol::Request::DeleteRuntime { runtime_id });
                self.after_hub();
                self.agenda
                    .after(span, Event::Repair(Repair::AddRuntime(machine)));
            }
            Fault::DeleteProcess { work } => {
                if let Some(process_id) = self.witness.process_of(work) {
                    self.hub
                        .ask(SUBMITTER, protocol::Request::DeleteProcess { process_id });
                    self.after_hub();
                }
            }
        }
    }

    pub(super) fn cut_power(&mut self, machine: usize, off: Duration) {
        if self.machines[machine].is_off {
            return;
        }
        self.machines[machine].cut_power();
        // Nobody is left who could close a connection.
        self.around.wire.take();
        self.after_run(machine);
        for output in self.machines[machine].outputs() {
            self.witness.fell(&output);
        }
        self.agenda.after(off, Event::Repair(Repair::PowerOn(machine)));
    }

    pub(super) fn clone_card(&mut self, machine: usize) {
        // Without a journal only the key file could tell whose it is, and that is not simulated.
        if !self.machines[machine].has_journal() {
            return;
        }
        let number = self.machines.len();
        let clone = self.machines[machine].clone_card(number, &self.around);
        self.witness.add_machine(clone.runtimes());
        self.machines.push(clone);
        self.timers.push(None);
        self.ways.add();
        self.start(number);
    }

    pub(super) fn crash_hub(&mut self, down: Duration, reboot: bool) {
        if !self.hub.is_up() {
            return;
        }
        for id in self.hub.crash() {
            // A crashed program's connections are closed by its kernel; a machine without power does nothing.
            if !reboot {
                let delay = self.delay();
                self.agenda.after(delay, Event::Reach(id, Err(reset())));
            }
        }
        self.agenda.after(down, Event::Repair(Repair::HubUp { reboot }));
    }

    pub(super) fn repair(&mut self, repair: Repair) {
        note!(self.agenda, "+ {repair:?}");
        match repair {
            Repair::Start(machine) => {
                let there = &self.machines[machine];
                if there.agent.is_there() {
                    // Still stopping.
                    self.agenda.after(AGAIN, Event::Repair(Repair::Start(machine)));
                } else if !there.is_off {
                    self.start(machine);
                }
            }
            Repair::Thaw(machine) => {
                self.machines[machine].agent.frozen = false;
                self.run_machine(machine);
                self.agenda.after(REACTION, Event::CheckThawed(machine));
            }
            Repair::PowerOn(machine) => {
                self.machines[machine].restore_power();
                self.start(machine);
            }
            Repair::Connect(machine) => self.ways.connect(machine),
            Repair::HubUp { reboot } => {
                let clock = match reboot {
                    false => self.hub.clock().clone(),
                    true => {
                        self.hub_boots += 1;
                        let boot_id = format!("hub-boot-{}", self.hub_boots);
                        SimulatedClock::boot(
                            &self.around.world,
                            Duration::from_secs(3),
                            self.plan.hub_ppm,
                            boot_id,
                        )
                    }
                };
                if self.hub.restart(clock) {
                    self.after_hub();
                } else {
                    self.agenda.after(AGAIN, Event::Repair(Repair::HubUp { reboot }));
                }
            }
            Repair::Disk(machine) => self.machines[machine].disk.heal(),
            Repair::HubDisk => self.hub.set_broken(false),
            Repair::AddRuntime(machine) => {
                let (id, runtime_type) = self.identity(machine);
                if !self.add_runtime(&id, &runtime_type) {
                    self.agenda
                        .after(AGAIN, Event::Repair(Repair::AddRuntime(machine)));
                }
            }
        }
    }

    pub(super) fn start(&mut self, machine: usize) {
        if !self.machines[machine].start() {
            note!(self.agenda, "machine {machine}: the agent refuses to start");
            return;
        }
        self.run_machine(machine);
        for output in self.machines[machine].outputs() {
            self.witness.started(&output, self.agenda.now());
        }
    }
}
