//! Random commands against both stores: they must agree with each other and with what a ledger promises.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::BootTime;
use crate::hub::testing;
use crate::protocol::model::Statistics;

/// A step, by small numbers that name colonies, runtimes and processes.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    AddColony(u8),
    DeleteColony(u8),
    AddRuntime(u8, u8, u8),
    Decide(u8, bool),
    DeleteRuntime(u8),
    Submit {
        colony: u8,
        kind: u8,
        targets: Vec<u8>,
        wait: i64,
        exec: i64,
        retries: i64,
        submission: Option<u8>,
        env: bool,
    },
    Assign(u8, u8, bool),
    GiveBack(usize),
    Close(usize, bool),
    Attribute(usize, u8),
    Delete(usize),
    DeleteAll(u8),
    Rollback,
    Restart,
    Reboot(i8),
}

fn step() -> impl Strategy<Value = Step> {
    let submit = (
        0..2u8,
        0..2u8,
        prop::collection::vec(0..4u8, 0..3),
        -2..4i64,
        -2..4i64,
        -1..3i64,
        prop::option::weighted(0.3, 0..3u8),
        any::<bool>(),
    );
    let submit =
        submit.prop_map(
            |(colony, kind, targets, wait, exec, retries, submission, env)| Step::Submit {
                colony,
                kind,
                targets,
                wait,
                exec,
                retries,
                submission,
                env,
            },
        );
    prop_oneof![
        4 => (0..2500u64).prop_map(Step::Wait),
        1 => (0..2u8).prop_map(Step::AddColony),
        1 => (0..40u8).prop_map(Step::DeleteColony),
        2 => (0..3u8, 0..2u8, 0..2u8).prop_map(|(id, colony, kind)| Step::AddRuntime(id, colony, kind)),
        1 => (0..3u8, any::<bool>()).prop_map(|(id, yes)| Step::Decide(id, yes)),
        1 => (0..6u8).prop_map(Step::DeleteRuntime),
        8 => submit,
        8 => (0..2u8, 0..3u8, any::<bool>()).prop_map(|(colony, id, latest)| Step::Assign(colony, id, latest)),
        1 => (0..50usize).prop_map(Step::GiveBack),
        3 => (0..50usize, any::<bool>()).prop_map(|(process, good)| Step::Close(process, good)),
        2 => (0..50usize, 0..3u8).prop_map(|(process, key)| Step::Attribute(process, key)),
        1 => (0..50usize).prop_map(Step::Delete),
        1 => (0..20u8).prop_map(Step::DeleteAll),
        1 => Just(Step::Rollback),
        1 => Just(Step::Restart),
        1 => any::<i8>().prop_map(Step::Reboot),
    ]
}

/// One state of a ledger, all of it.
#[derive(Debug, PartialEq)]
struct All {
    colonies: Vec<Colony>,
    runtimes: Vec<Vec<Runtime>>,
    records: Vec<Vec<Record>>,
    attributes: Vec<Vec<Attribute>>,
    statistics: Vec<Statistics>,
    due: Option<(BootTime, String)>,
    heads: Vec<Option<u64>>,
    running: Vec<Vec<Record>>,
    histories: Vec<Vec<Record>>,
}

const STATES: [ProcessState; 4] = [
    ProcessState::Waiting,
    ProcessState::Running,
    ProcessState::Successful,
    ProcessState::Failed,
];

fn colony(number: u8) -> String {
    testing::id(number % 2 + 1)
}

fn runtime(number: u8) -> String {
    testing::id(number % 4 + 11)
}

fn kind(number: u8) -> String {
    ["cli", "lamp"][usize::from(number % 2)].to_owned()
}

fn all(view: &impl View, since: Time) -> All {
    let mut records = Vec::new();
    let mut heads = Vec::new();
    let mut histories = Vec::new();
    for one in 0..2 {
        for state in STATES {
            records.push(view.newest(&colony(one), state, 1000).unwrap());
            histories.push(view.history(&colony(one), None, state, since, 7).unwrap());
            let of = runtime(0);
            histories.push(view.history(&colony(one), Some(&of), state, since, 7).unwrap());
        }
        for (type_of, id, latest) in [(0, 0, false), (0, 1, true), (1, 2, false), (1, 0, true)] {
            let head = view
                .head(&colony(one), &kind(type_of), &runtime(id), latest)
                .unwrap();
            heads.push(head.map(|record| record.seq));
        }
    }
    let ids = records.iter().flatten().map(|record| record.process.id.clone());
    let attributes = ids.map(|id| view.attributes(&id).unwrap()).collect();
    let (one, two) = (colony(0), colony(1));
    All {
        colonies: view.colonies().unwrap(),
        runtimes: [&one, &two].map(|id| view.runtimes(id).unwrap()).into(),
        attributes,
        statistics: [None, Some(one.as_str()), Some(&two)]
            .map(|id| view.statistics(id).unwrap())
            .into(),
        due: view.first_due().unwrap(),
        running: [0, 1, 2].map(|id| view.running_on(&runtime(id)).unwrap()).into(),
        records,
        heads,
        histories,
    }
}

/// Both stores, and what is remembered of the past.
struct World {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    sqlite: Option<SqliteStore>,
    memory: MemoryStore,
    hands: std::sync::Arc<testing::HandClock>,
    clock: LedgerClock,
    ids: Vec<String>,
    attempts: Vec<Attempt>,
    /// When each lease began.
    begun: BTreeMap<String, BootTime>,
    last: Option<All>,
    latest_stamp: Time,
    random: Box<dyn FnMut() -> Result<[u8; 16], Refusal> + Send>,
}

/// Nothing is cut off here; syncing would only take time.
fn unsynced() -> OpenOptions {
    OpenOptions {
        synchronous: Synchronous::Off,
        ..OpenOptions::default()
    }
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        let hands = testing::HandClock::new();
        let mut sqlite = SqliteStore::open(&path, &unsynced()).unwrap();
        let clock = resume(&mut sqlite, hands.clone()).unwrap();
        World {
            _dir: dir,
            path,
            sqlite: Some(sqlite),
            memory: MemoryStore::new(),
            clock,
            hands,
            ids: Vec::new(),
            attempts: Vec::new(),
            begun: BTreeMap::new(),
            last: None,
            latest_stamp: Time::NEVER,
            random: testing::counting(0),
        }
    }

    fn sqlite(&mut self) -> &mut SqliteStore {
        self.sqlite.as_mut().unwrap()
    }

    /// The same command against both, in a transaction that is kept or not.
    fn command(&mut self, command: Command, keep: bool) -> Option<Outcome> {
        let now = self.clock.moment();
        assert!(now.stamp >= self.latest_stamp, "stamps go backwards");
        self.latest_stamp = now.stamp;
        let anchor = self.clock.anchor();
        let bytes = (self.random)().unwrap();
        let mut results = Vec::new();
        for which in 0..2 {
            let mut random = || Ok(bytes);
            let applied = match which {
                0 => apply(&self.memory, command.clone(), now, &mut random),
                _ => apply(self.sqlite(), command.clone(), now, &mut random),
            };
            results.push(match applied {
                Ok(done) => Ok(done),
                Err(Fault::Refused(refusal)) => Err(refusal),
                Err(Fault::Store(error)) => panic!("{error}"),
            });
        }
        let on_disk = results.pop().unwrap();
        let in_memory = results.pop().unwrap();
        assert_eq!(on_disk, in_memory, "the stores disagree about {command:?}");
        let (outcome, effect) = match in_memory {
            Ok(done) => done,
            Err(_) => return None,
        };
        fn write(store: &mut impl Store, effect: &Effect, anchor: &Anchor, keep: bool) {
            store.begin().unwrap();
            for change in &effect.changes {
                store.write(change).unwrap();
            }
            match keep {
                true => store.commit(anchor).unwrap(),
                false => store.rollback(),
            }
        }
        write(&mut self.memory, &effect, &anchor, keep);
        write(self.sqlite(), &effect, &anchor, keep);
        if keep {
            for id in &effect.ready {
                assert!(self.memory.record(id).unwrap().unwrap().is_ready());
            }
        }
        Some(outcome)
    }

    /// What is due happens first, as an engine does it.
    fn expire(&mut self) {
        let now = self.clock.moment().boot;
        while let Some((due, id)) = self.memory.first_due().unwrap().filter(|(due, _)| *due <= now) {
            let before = self.memory.record(&id).unwrap().unwrap();
            assert_eq!(before.due(), Some(due));
            self.command(Command::Expire, true);
            let after = self.memory.record(&id).unwrap().unwrap().process;
            let was = before.process;
            if was.state == ProcessState::Running {
                let lease = Duration::from_secs(was.spec.max_exec_time as u64);
                assert!(now >= self.begun[&id] + lease, "requeued early");
                let used_up = was.spec.max_retries >= 0 && was.retries >= was.spec.max_retries;
                assert_eq!(after.retries, was.retries + i64::from(!used_up));
                assert_eq!(after.state == ProcessState::Failed && after.is_assigned, used_up);
            } else {
                assert_eq!(after.state, ProcessState::Failed);
            }
        }
    }

    fn take(&mut self, step: Step) {
        if let Step::Wait(millis) = step {
            self.hands.advance(Duration::from_millis(millis));
        }
        self.expire();
        match step {
            Step::Wait(_) => {}
            Step::AddColony(number) => {
                let (id, name) = (colony(number), format!("colony {number}"));
                self.command(Command::AddColony(Colony { id, name }), true);
            }
            Step::DeleteColony(number) if number < 2 => {
                self.command(Command::DeleteColony(colony(number)), true);
            }
            Step::AddRuntime(id, of, type_of) if self.memory.colony(&colony(of)).unwrap().is_some() => {
                let one = Runtime {
                    id: runtime(id),
                    runtime_type: kind(type_of),
                    colony_id: colony(of),
                    last_heard_from: Time::NEVER,
                    ..Runtime::default()
                };
                self.command(Command::AddRuntime(one), true);
            }
            Step::Decide(id, yes) => {
                use crate::protocol::model::RuntimeState::{Approved, Rejected};
                let state = if yes { Approved } else { Rejected };
                let runtime_id = runtime(id);
                self.command(Command::SetRuntimeState { runtime_id, state }, true);
            }
            Step::DeleteRuntime(id) if id < 3 => {
                self.command(Command::DeleteRuntime(runtime(id)), true);
            }
            Step::Submit { colony: of, .. } if self.memory.colony(&colony(of)).unwrap().is_none() => {}
            Step::Submit {
                colony: of,
                kind: type_of,
                targets,
                wait,
                exec,
                retries,
                submission,
                env,
            } => {
                let mut spec = testing::spec(&colony(of), &kind(type_of));
                spec.conditions.runtime_ids = targets.iter().map(|id| runtime(*id)).collect();
                spec.max_wait_time = wait;
                spec.max_exec_time = exec;
                spec.max_retries = retries;
                spec.args = env.then(|| vec!["ä".to_owned(), String::new()]);
                if env {
                    spec.env.insert("K".into(), "v".into());
                }
                if let Some(submission) = submission {
                    spec.env.insert(SUBMISSION_ID.to_owned(), submission.to_string());
                }
                let command = Command::Submit {
                    submitter: runtime(0),
                    spec: Box::new(spec.clone()),
                };
                let Some(Outcome::Process(process)) = self.command(command.clone(), true) else {
                    panic!("a submit was refused");
                };
                assert!(process.spec.max_exec_time == -1 || process.spec.max_exec_time > 0);
                if submission.is_some() {
                    let again = self.command(command, true);
                    let Some(Outcome::Process(again)) = again else {
                        panic!("a repeated submit was refused");
                    };
                    assert_eq!(again.id, process.id);
                } else {
                    assert_eq!(process.spec.env, spec.env);
                }
                self.ids.push(process.id);
            }
            Step::Assign(of, id, latest) => self.assign(&colony(of), &runtime(id), latest),
            Step::GiveBack(number) if number < self.attempts.len() => {
                let attempt = self.attempts[number].clone();
                let id = attempt.before.process.id.clone();
                let command = Command::GiveBack(attempt.clone());
                if self.command(command, true) == Some(Outcome::Done) {
                    assert_eq!(self.memory.record(&id).unwrap(), Some(*attempt.before));
                }
            }
            Step::Close(number, good) if number < self.ids.len() => {
                let command = Command::Close {
                    process_id: self.ids[number].clone(),
                    failure: (!good).then(|| "no".to_owned()),
                };
                self.command(command, true);
            }
            Step::Attribute(number, key) if number < self.ids.len() => {
                let attribute = Attribute {
                    target_id: self.ids[number].clone(),
                    key: key.to_string(),
                    kind: [AttributeKind::Out, AttributeKind::Env, AttributeKind::Other(77)]
                        [usize::from(key % 3)],
                    ..Attribute::default()
                };
                self.command(Command::AddAttribute(attribute), true);
            }
            Step::Delete(number) if number < self.ids.len() => {
                self.command(Command::DeleteProcess(self.ids[number].clone()), true);
            }
            Step::DeleteAll(number) if number < 2 => {
                self.command(Command::DeleteProcesses(colony(number)), true);
            }
            Step::Rollback => {
                let before = all(&self.memory, Time::NEVER);
                self.command(Command::DeleteColony(colony(0)), false);
                self.command(Command::DeleteRuntime(runtime(0)), false);
                assert_eq!(all(&self.memory, Time::NEVER), before);
            }
            Step::Restart => self.restart(),
            Step::Reboot(years) => {
                self.hands.reboot();
                self.hands.step_wall(i64::from(years) * (testing::YEARS_56 / 128));
                self.restart();
                let now = self.clock.moment().boot;
                for begun in self.begun.values_mut() {
                    *begun = now;
                }
                // Attempts of another boot can't be given back: their deadlines mean nothing any more.
                self.attempts.clear();
            }
            _ => {}
        }
    }

    fn assign(&mut self, colony_id: &str, runtime_id: &str, latest: bool) {
        let type_of = self
            .memory
            .runtime(runtime_id)
            .unwrap()
            .map(|one| one.runtime_type);
        let waiting = self
            .memory
            .newest(colony_id, ProcessState::Waiting, usize::MAX)
            .unwrap();
        let mine = waiting.iter().filter(|record| {
            Some(&record.process.spec.conditions.runtime_type) == type_of.as_ref()
                && record.is_for(runtime_id)
        });
        let seqs = mine.map(|record| record.seq);
        let expected = if latest { seqs.max() } else { seqs.min() };
        let command = Command::Assign {
            colony_id: colony_id.to_owned(),
            runtime_id: runtime_id.to_owned(),
            latest,
        };
        let outcome = self.command(command, true);
        let got = match &outcome {
            Some(Outcome::Assigned(_, attempt)) => Some(attempt.before.seq),
            _ => None,
        };
        assert_eq!(got, expected, "strict order");
        if let Some(Outcome::Assigned(process, attempt)) = outcome {
            assert_ne!(attempt.before.process.state, ProcessState::Failed);
            self.begun.insert(process.id.clone(), self.clock.moment().boot);
            self.attempts.push(attempt);
        }
    }

    fn restart(&mut self) {
        drop(self.sqlite.take());
        let mut sqlite = SqliteStore::open(&self.path, &unsynced()).unwrap();
        let anchor = sqlite.anchor().unwrap();
        self.clock = resume(&mut sqlite, self.hands.clone()).unwrap();
        self.sqlite = Some(sqlite);
        // The one in memory goes through the same, from the same anchor.
        if let Some(anchor) = anchor {
            self.memory.begin().unwrap();
            self.memory.commit(&anchor).unwrap();
        }
        resume(&mut self.memory, self.hands.clone()).unwrap();
        self.latest_stamp = self.latest_stamp.min(self.clock.moment().stamp);
    }

    fn check(&mut self) {
        let since = Time::from_unix_nanos(i128::from(testing::START) + 3_000_000_000);
        let on_disk = all(self.sqlite(), since);
        let in_memory = all(&self.memory, since);
        assert_eq!(on_disk, in_memory, "the stores disagree");
        for record in in_memory.records.iter().flatten() {
            let process = &record.process;
            let running = process.state == ProcessState::Running;
            assert!(!running || process.is_assigned);
            assert!(process.state != ProcessState::Waiting || process.assigned_runtime_id.is_empty());
            let limit = process.spec.max_retries;
            assert!(limit < 0 || process.retries <= limit, "retried too often");
            assert_eq!(
                running && process.spec.max_exec_time > 0,
                record.lease_due.is_some()
            );
        }
        // What has ended stays as it ended.
        if let Some(last) = &self.last {
            for was in last.records.iter().flatten() {
                let is = self.memory.record(&was.process.id).unwrap();
                if let Some(is) = is.filter(|_| was.process.state.is_final()) {
                    assert_eq!(is.process.state, was.process.state);
                }
            }
        }
        self.last = Some(in_memory);
    }
}

/// A case opens and closes many databases; `PROPTEST_CASES` asks for more of them.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn both_stores_keep_the_same_ledger(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for setup in [
            Step::AddColony(0),
            Step::AddColony(1),
            Step::AddRuntime(0, 0, 0),
            Step::AddRuntime(1, 0, 0),
            Step::AddRuntime(2, 1, 1),
        ] {
            world.take(setup);
        }
        for step in steps {
            world.take(step);
            world.check();
        }
    }
}
