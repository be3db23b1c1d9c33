//! The way of a request: sign, seal; parse, recover, decode; encode the answer. `cargo bench --bench hot_path`.
//! Figures and how they were taken: `docs/performance.md`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use outpost::clock::SystemClock;
use outpost::hub::engine::{Engine, Input, Job, system_entropy};
use outpost::hub::ledger::{OpenOptions, SqliteStore, Store, Synchronous, resume};
use outpost::hub::service::Service;
use outpost::protocol::dialect::Dialect;
use outpost::protocol::identity::recover;
use outpost::protocol::model::{Colony, Conditions, Process, ProcessSpec, ProcessState, Runtime};
use outpost::protocol::{Answer, Envelope, Kind, PrivateKey, Reply, Request, Time};
use tokio::sync::{mpsc, oneshot};

const DIALECT: Dialect = Dialect::Runtime;

fn spec() -> ProcessSpec {
    ProcessSpec {
        func: "lamp.on".into(),
        args: Some(vec!["hello".into(), "world".into()]),
        max_wait_time: 10,
        max_exec_time: 60,
        max_retries: 3,
        conditions: Conditions {
            colony_id: "c".repeat(64),
            runtime_ids: vec!["a".repeat(64)],
            runtime_type: "cli".into(),
            ..Conditions::default()
        },
        env: [("TEST".into(), "testenv".into())].into(),
        ..ProcessSpec::default()
    }
}

fn client_side(c: &mut Criterion) {
    let key = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
    let request = Request::Submit(Box::new(spec()));
    let payload = DIALECT.encode_request(&request);
    let mut group = c.benchmark_group("client");
    group.bench_function("encode a submit", |b| {
        b.iter(|| DIALECT.encode_request(black_box(&request)))
    });
    group.bench_function("sign", |b| {
        b.iter(|| key.sign(black_box("eyJtc2d0eXBlIjoiZ2V0Y29sb25pZXNtc2cifQ==")))
    });
    group.bench_function("seal a submit to bytes", |b| {
        b.iter(|| Envelope::seal(&key, "submitprocessespecmsg", black_box(&payload)).to_bytes());
    });
    group.finish();
}

fn server_side(c: &mut Criterion) {
    let key = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
    let request = Request::Submit(Box::new(spec()));
    let body = Envelope::seal(&key, "submitprocessespecmsg", &DIALECT.encode_request(&request)).to_bytes();
    let signature = key.sign("hello");
    let open = |body: &[u8]| {
        let envelope = Envelope::parse(body).unwrap();
        let caller = envelope.caller().unwrap();
        let kind = DIALECT.kind(envelope.payload_type()).unwrap();
        (caller, DIALECT.decode_request(kind, &envelope.payload()).unwrap())
    };
    let process = Answer::Process(Box::new(Process {
        id: "d".repeat(64),
        state: ProcessState::Running,
        start_time: Time::from_unix_nanos(1_659_578_911_194_673_695),
        spec: spec(),
        ..Process::default()
    }));
    let mut group = c.benchmark_group("server");
    group.bench_function("recover", |b| {
        b.iter(|| recover(black_box("hello"), black_box(&signature)).unwrap())
    });
    group.bench_function("parse an envelope", |b| {
        b.iter(|| Envelope::parse(black_box(&body)).unwrap())
    });
    group.bench_function("open a submit: parse, recover, decode", |b| {
        b.iter(|| open(black_box(&body)))
    });
    group.bench_function("answer with a process", |b| {
        b.iter(|| {
            let payload = DIALECT.encode_answer(Kind::Assign, black_box(&process));
            Reply::success(DIALECT.payload_type(Kind::Assign), payload).to_bytes()
        });
    });
    group.finish();
}

/// An engine with a colony and an approved runtime, on any store.
struct Bench<S> {
    engine: Engine<S>,
    caller: String,
}

impl<S: Store> Bench<S> {
    /// On what a store holds.
    fn open(mut store: S) -> Self {
        let clock = Arc::new(resume(&mut store, Arc::new(SystemClock)).unwrap());
        let (returns, _) = mpsc::unbounded_channel();
        let service = Service::new("s".repeat(64));
        Bench {
            engine: Engine::new(store, service, clock, system_entropy(), 100, returns),
            caller: "a".repeat(64),
        }
    }

    /// With a colony and a runtime, which the store does not hold yet.
    fn new(store: S) -> Self {
        let mut bench = Bench::open(store);
        let colony_id = "c".repeat(64);
        let colony = Colony {
            id: colony_id.clone(),
            name: "bench".into(),
        };
        let runtime = Runtime {
            id: bench.caller.clone(),
            runtime_type: "cli".into(),
            colony_id: colony_id.clone(),
            ..Runtime::default()
        };
        bench.ask("s".repeat(64), Request::AddColony(Some(colony)));
        bench.ask(colony_id.clone(), Request::AddRuntime(runtime));
        bench.ask(
            colony_id,
            Request::ApproveRuntime {
                runtime_id: "a".repeat(64),
            },
        );
        bench
    }

    fn ask(&mut self, caller: String, request: Request) -> Answer {
        let (reply, mut answer) = oneshot::channel();
        self.engine.turn(vec![Input::Job(Job {
            caller,
            request,
            reply,
        })]);
        answer.try_recv().unwrap().unwrap().take()
    }

    fn submit(&mut self) {
        self.ask(self.caller.clone(), Request::Submit(Box::new(spec())));
    }

    /// The oldest process, given and closed: the queue is as long afterwards as before the submit.
    fn assign(&mut self) -> String {
        let request = Request::Assign {
            colony_id: "c".repeat(64),
            latest: false,
            timeout: -1,
        };
        match self.ask(self.caller.clone(), request) {
            Answer::Process(process) => process.id,
            other => panic!("{other:?}"),
        }
    }
}

fn ledger(c: &mut Criterion) {
    let mut group = c.benchmark_group("ledger");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, synchronous) in [("synced", Synchronous::Full), ("not synced", Synchronous::Off)] {
        for queued in [0, 1_000, 10_000] {
            let options = OpenOptions {
                synchronous: Synchronous::Off,
                ..OpenOptions::default()
            };
            let file = path(&format!("{name}-{queued}.db"));
            let mut filling = Bench::new(SqliteStore::open(&file, &options).unwrap());
            (0..queued).for_each(|_| filling.submit());
            drop(filling);
            let options = OpenOptions {
                synchronous,
                ..OpenOptions::default()
            };
            let mut disk = Bench::open(SqliteStore::open(&file, &options).unwrap());
            group.bench_function(
                format!("submit and assign on disk, {name}, {queued} queued"),
                |b| {
                    b.iter(|| {
                        disk.submit();
                        disk.assign()
                    });
                },
            );
        }
    }
    group.finish();
}

criterion_group!(hot_path, client_side, server_side, ledger);
criterion_main!(hot_path);
