//! Power cuts: what the hub acknowledged is there afterwards. `kill -9` can't show that, since the page cache
//! survives it; here a disk beneath SQLite forgets what was not synced.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy allows them in test functions, not in what those share

mod disk;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use disk::{Disk, Random};
use outpost::clock::SystemClock;
use outpost::hub::engine::{Engine, Input, Job, system_entropy};
use outpost::hub::ledger::{OpenOptions, SqliteStore, Store, Synchronous, View, resume};
use outpost::hub::service::Service;
use outpost::protocol::model::{
    Attribute, AttributeKind, Colony, Conditions, ProcessSpec, ProcessState, Runtime,
};
use outpost::protocol::{Answer, PrivateKey, Refusal, Request};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

/// Opens a database on a disk, as the hub does: WAL, exclusive.
fn database(vfs: &str, synchronous: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let database = Connection::open_with_flags_and_vfs("plain.db", flags, vfs)?;
    database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let mode: String = database.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    assert_eq!(mode, "wal");
    database.pragma_update(None, "synchronous", synchronous)?;
    database.execute_batch("CREATE TABLE IF NOT EXISTS done (number INTEGER PRIMARY KEY, filling BLOB)")?;
    Ok(database)
}

/// Commits rows one by one until the power is cut; how many were acknowledged, and how many are there afterwards.
fn plain(seed: u64, synchronous: &str) -> (i64, i64) {
    let disk = Disk::default();
    let vfs = format!("plain-{synchronous}-{seed}");
    disk.register(&vfs);
    let mut random = Random(seed);
    let before = database(&vfs, synchronous).unwrap();
    disk.cut_after(random.below(300));
    let mut acknowledged = 0;
    while before
        .execute(
            "INSERT INTO done VALUES (?1, zeroblob(?2))",
            [acknowledged, i64::try_from(random.below(3000)).unwrap()],
        )
        .is_ok()
    {
        acknowledged += 1;
    }
    assert!(disk.is_cut());
    drop(before);
    disk.power_up(&mut random);
    let Ok(after) = database(&vfs, "FULL") else {
        return (acknowledged, 0);
    };
    let there = after
        .query_row("SELECT count(*) FROM done", [], |row| row.get(0))
        .unwrap_or(0);
    (acknowledged, there)
}

/// The disk itself, with SQLite alone: it forgets, and only what was not synced.
#[test]
fn the_disk_forgets_only_what_was_not_synced() {
    let mut forgotten = 0;
    for seed in 0..100 {
        let (acknowledged, there) = plain(seed, "FULL");
        assert!(
            there >= acknowledged,
            "seed {seed}: {acknowledged} acknowledged, {there} there"
        );
        let (acknowledged, there) = plain(seed, "OFF");
        forgotten += u64::from(there < acknowledged);
    }
    assert!(
        forgotten > 50,
        "without syncs only {forgotten} of 100 cuts lost anything"
    );
}

/// What a hub acknowledged.
#[derive(Default)]
struct Facts {
    /// Process ids, and the state that was last acknowledged.
    processes: BTreeMap<String, ProcessState>,
    attributes: Vec<String>,
}

/// One hub's life on a disk.
struct Life {
    engine: Engine<SqliteStore>,
    owner: PrivateKey,
    facts: Facts,
}

const COLONY: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const RUNTIME: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

impl Life {
    fn begin(vfs: &str, synchronous: Synchronous) -> Option<Life> {
        let options = OpenOptions {
            vfs: Some(vfs.to_owned()),
            synchronous,
        };
        let mut store = SqliteStore::open(Path::new("hub.db"), &options).ok()?;
        let clock = Arc::new(resume(&mut store, Arc::new(SystemClock)).ok()?);
        let owner = PrivateKey::from_hex(&"51".repeat(32)).unwrap();
        let (returns, _) = mpsc::unbounded_channel();
        let engine = Engine::new(
            store,
            Service::new(owner.id()),
            clock,
            system_entropy(),
            10,
            returns,
        );
        Some(Life {
            engine,
            owner,
            facts: Facts::default(),
        })
    }

    /// Several requests in one turn, as a busy hub takes them.
    fn ask(&mut self, requests: Vec<(String, Request)>) -> Vec<Option<Result<Answer, Refusal>>> {
        let mut jobs = Vec::new();
        let mut replies = Vec::new();
        for (caller, request) in requests {
            let (reply, answer) = oneshot::channel();
            jobs.push(Input::Job(Job {
                caller,
                request,
                reply,
            }));
            replies.push(answer);
        }
        self.engine.turn(jobs);
        let taken = replies.into_iter().map(|mut reply| reply.try_recv().ok());
        taken
            .map(|reply| reply.map(|said| said.map(|delivery| delivery.take())))
            .collect()
    }

    /// A colony with a runtime; `false` if the power went.
    fn settle(&mut self) -> bool {
        let colony = Colony {
            id: COLONY.into(),
            name: "home".into(),
        };
        let runtime = Runtime {
            id: RUNTIME.into(),
            runtime_type: "cli".into(),
            colony_id: COLONY.into(),
            ..Runtime::default()
        };
        let requests = [
            (self.owner.id(), Request::AddColony(Some(colony))),
            (COLONY.into(), Request::AddRuntime(runtime)),
            (
                COLONY.into(),
                Request::ApproveRuntime {
                    runtime_id: RUNTIME.into(),
                },
            ),
        ];
        let answers = self.ask(requests.into());
        answers.iter().all(|answer| matches!(answer, Some(Ok(_))))
    }

    /// A turn of random requests; remembers what was acknowledged. Now and then it is quiet enough for tidying up.
    fn turn(&mut self, random: &mut Random) {
        if random.below(6) == 0 {
            // Fails once the power is gone.
            let _ = self.engine.store_mut().tidy();
        }
        let mut requests = Vec::new();
        let running = |processes: &BTreeMap<String, ProcessState>, random: &mut Random| {
            let running: Vec<_> = processes
                .iter()
                .filter(|(_, state)| **state == ProcessState::Running)
                .collect();
            (!running.is_empty()).then(|| running[random.below(running.len() as u64) as usize].0.clone())
        };
        for _ in 0..=random.below(8) {
            let request = match random.below(6) {
                0..=2 => {
                    let conditions = Conditions {
                        colony_id: COLONY.into(),
                        runtime_type: "cli".into(),
                        ..Conditions::default()
                    };
                    let env = [("FILLING".to_owned(), "x".repeat(random.below(3000) as usize))];
                    Request::Submit(Box::new(ProcessSpec {
                        conditions,
                        env: env.into(),
                        ..ProcessSpec::default()
                    }))
                }
                3 => Request::Assign {
                    colony_id: COLONY.into(),
                    latest: random.below(2) == 0,
                    timeout: -1,
                },
                4 => match running(&self.facts.processes, random) {
                    Some(process_id) if random.below(2) == 0 => Request::CloseSuccessful { process_id },
                    Some(process_id) => Request::CloseFailed {
                        process_id,
                        error_message: "no".into(),
                    },
                    None => continue,
                },
                _ => match running(&self.facts.processes, random) {
                    Some(target_id) => Request::AddAttribute(Attribute {
                        target_id,
                        target_colony_id: COLONY.into(),
                        kind: AttributeKind::Out,
                        key: random.next().to_string(),
                        ..Attribute::default()
                    }),
                    None => continue,
                },
            };
            requests.push((RUNTIME.to_owned(), request));
        }
        let asked: Vec<Request> = requests.iter().map(|(_, request)| request.clone()).collect();
        for (request, answer) in asked.into_iter().zip(self.ask(requests)) {
            match (request, answer) {
                (_, Some(Ok(Answer::Process(process)))) => {
                    self.facts.processes.insert(process.id.clone(), process.state);
                }
                (Request::CloseSuccessful { process_id }, Some(Ok(_))) => {
                    self.facts.processes.insert(process_id, ProcessState::Successful);
                }
                (Request::CloseFailed { process_id, .. }, Some(Ok(_))) => {
                    self.facts.processes.insert(process_id, ProcessState::Failed);
                }
                (_, Some(Ok(Answer::Attribute(attribute)))) => self.facts.attributes.push(attribute.id),
                _ => {}
            }
        }
    }
}

impl Facts {
    fn count(&self) -> usize {
        self.processes.len() + self.attributes.len()
    }

    /// How much of it a later life does not know.
    fn lost(&self, next: Option<&Life>) -> usize {
        let Some(next) = next else {
            return self.count();
        };
        let store = next.engine.store();
        let processes = self.processes.iter().filter(|(id, acknowledged)| {
            let found = store.record(id).ok().flatten().map(|record| record.process.state);
            // What was not acknowledged may have happened all the same, but never a step back.
            !match acknowledged {
                ProcessState::Waiting => found.is_some(),
                ProcessState::Running => found.is_some_and(|found| found != ProcessState::Waiting),
                done => found == Some(**done),
            }
        });
        let attributes = self
            .attributes
            .iter()
            .filter(|id| !matches!(store.attribute(id), Ok(Some(_))));
        processes.count() + attributes.count()
    }
}

/// A hub lives on a disk until the power is cut; how much was acknowledged, and how much of that is lost.
fn hub(seed: u64, synchronous: Synchronous) -> (usize, usize) {
    let disk = Disk::default();
    let vfs = format!("hub-{synchronous:?}-{seed}");
    disk.register(&vfs);
    let mut random = Random(seed);
    let mut life = Life::begin(&vfs, synchronous).unwrap();
    assert!(life.settle());
    disk.cut_after(random.below(400));
    while !disk.is_cut() {
        life.turn(&mut random);
    }
    // The cut fell within a turn: from then on nothing is acknowledged.
    let acknowledged = life.facts.count();
    life.turn(&mut random);
    assert_eq!(life.facts.count(), acknowledged, "without power");
    let Life { engine, facts, .. } = life;
    drop(engine);
    disk.power_up(&mut random);
    let next = Life::begin(&vfs, Synchronous::Full);
    // Of a damaged database nothing is left.
    let settled = next.filter(|next| matches!(next.engine.store().runtime(RUNTIME), Ok(Some(_))));
    (acknowledged, facts.lost(settled.as_ref()))
}

#[test]
fn what_the_hub_acknowledged_survives_a_power_cut() {
    let mut acknowledged = 0;
    for seed in 0..150 {
        let (said, lost) = hub(seed, Synchronous::Full);
        assert_eq!(
            lost, 0,
            "seed {seed}: {lost} of {said} acknowledged requests are lost"
        );
        acknowledged += said;
    }
    assert!(
        acknowledged > 1500,
        "only {acknowledged} requests were acknowledged in all"
    );
}

/// The same test fails when nothing is synced: it can see a loss.
#[test]
fn without_syncs_it_does_not() {
    let lossy = (0..50).filter(|seed| hub(*seed, Synchronous::Off).1 > 0).count();
    assert!(lossy > 25, "only {lossy} of 50 cuts lost anything");
}
