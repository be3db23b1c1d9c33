//! What an agent is told whose fence is to be broken ([`Broken`]). With nothing broken every word passes as it was said.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use outpost::protocol::model::Process;
use outpost::protocol::{Answer, Kind, Request, Time};

use crate::fence::Broken;
use crate::plan::{Verb, is_hazardous};
use crate::processes::wall;
use crate::wire;

/// How far apart two tellings of one start time may be: reads have microseconds.
const SAME_START: Duration = Duration::from_micros(1);

/// Who lies to one agent.
pub struct Liar {
    broken: Option<Broken>,
    /// What the agent was assigned, by process id, in that order.
    assigned: Mutex<BTreeMap<String, Vec<Assigned>>>,
}

struct Assigned {
    /// As the agent was told.
    told: Process,
    /// When it really was assigned.
    really: Time,
}

impl Liar {
    /// Tells lies that break the fence like this.
    pub fn new(broken: Option<Broken>) -> Self {
        Liar {
            broken,
            assigned: Mutex::default(),
        }
    }

    /// What is answered instead of the hub: that a process is still the agent's own.
    pub fn instead(&self, request: &Request) -> Option<Vec<u8>> {
        let Request::GetProcess { process_id } = request else {
            return None;
        };
        let assigned = self.assigned.lock().unwrap();
        let of_process = assigned.get(process_id)?;
        let work = of_process.first()?.told.spec.func.as_str();
        let told = match self.broken? {
            // It has one attempt, unless the hub took one back.
            Broken::NoConfirm if is_hazardous(work) => of_process.last()?,
            // What may be done once was done in the first attempt, if at all.
            Broken::OutboxWithoutAsking if !is_hazardous(work) && Verb::is_once(work) => {
                of_process.first()?
            }
            _ => return None,
        };
        let answer = Answer::Process(Box::new(told.told.clone()));
        Some(wire::answer(Kind::GetProcess, &answer, Some(wall())))
    }

    /// What becomes of the hub's answer that was held up on its way for so long.
    pub fn twist(&self, message: Vec<u8>, held_up: Duration) -> Vec<u8> {
        if self.broken != Some(Broken::LeaseFromArrival) {
            return message;
        }
        let stamp = wire::stamp(&message);
        match wire::told(&message) {
            Some((Kind::Assign, Answer::Process(mut process))) => {
                let really = process.start_time;
                process.start_time = really.plus(held_up);
                process.exec_deadline = process.exec_deadline.plus(held_up);
                self.keep(Assigned {
                    told: (*process).clone(),
                    really,
                });
                let stamp = stamp.map(|stamp| stamp + held_up.as_nanos() as i128);
                wire::answer(Kind::Assign, &Answer::Process(process), stamp)
            }
            // It must stay the attempt that the agent knows.
            Some((Kind::GetProcess, Answer::Process(mut process))) => {
                self.start_as_told(&mut process);
                wire::answer(Kind::GetProcess, &Answer::Process(process), stamp)
            }
            Some((Kind::GetHistory, Answer::Processes(mut processes))) => {
                for process in &mut processes {
                    self.start_as_told(process);
                }
                wire::answer(Kind::GetHistory, &Answer::Processes(processes), stamp)
            }
            _ => message,
        }
    }

    /// Takes note of an answer that passed whole.
    pub fn passed(&self, message: &[u8]) {
        if !matches!(self.broken, Some(Broken::NoConfirm | Broken::OutboxWithoutAsking)) {
            return;
        }
        if let Some((Kind::Assign, Answer::Process(process))) = wire::told(message) {
            self.keep(Assigned {
                really: process.start_time,
                told: *process,
            });
        }
    }

    fn keep(&self, assigned: Assigned) {
        let id = assigned.told.id.clone();
        self.assigned
            .lock()
            .unwrap()
            .entry(id)
            .or_default()
            .push(assigned);
    }

    fn start_as_told(&self, process: &mut Process) {
        let assigned = self.assigned.lock().unwrap();
        let same = |one: &&Assigned| {
            let (a, b) = (one.really, process.start_time);
            a.max(b).since(a.min(b)).is_some_and(|apart| apart <= SAME_START)
        };
        if let Some(one) = assigned.get(&process.id).and_then(|list| list.iter().find(same)) {
            process.start_time = one.told.start_time;
            process.exec_deadline = one.told.exec_deadline;
        }
    }
}
