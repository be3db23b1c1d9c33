//! The way of a request: sign, seal; parse, recover, decode; encode the answer. `cargo bench --bench hot_path`.
//! Figures and how they were taken: `docs/performance.md`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use outpost::protocol::dialect::Dialect;
use outpost::protocol::identity::recover;
use outpost::protocol::model::{Conditions, Process, ProcessSpec, ProcessState};
use outpost::protocol::{Answer, Envelope, Kind, PrivateKey, Reply, Request, Time};

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

criterion_group!(hot_path, client_side, server_side);
criterion_main!(hot_path);
