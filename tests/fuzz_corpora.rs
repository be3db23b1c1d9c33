//! Replays fuzz/corpus through the bodies of the fuzz targets: what was once found stays mended, without a fuzzer.
#![cfg(all(feature = "agent", feature = "hub", feature = "cli"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[path = "../fuzz/src/configuration.rs"]
mod configuration;
#[path = "../fuzz/src/envelope.rs"]
mod envelope;
#[path = "../fuzz/src/framing.rs"]
mod framing;
#[path = "../fuzz/src/journal.rs"]
mod journal;
#[path = "../fuzz/src/json.rs"]
mod json;

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("configuration", configuration::run),
    ("envelope", envelope::run),
    ("framing", framing::run),
    ("journal", journal::run),
    ("json", json::run),
];

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

fn inputs(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = fuzz().join("corpus").join(target);
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn every_input_of_every_corpus_passes() {
    for (target, run) in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{target} has no corpus");
        run(&[]);
        for (name, input) in inputs {
            // The name of the input is what a panic does not tell.
            let passed = std::panic::catch_unwind(|| run(&input));
            assert!(passed.is_ok(), "fuzz/corpus/{target}/{name}");
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let mut built: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .collect();
    built.sort_unstable();
    let replayed: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(built, replayed);
}

// TEMPORARY
#[test]
#[ignore]
fn make_journal_seeds() {
    use outpost::agent::journal::*;
    use outpost::protocol::Time;
    use outpost::protocol::model::{Attribute, AttributeKind};
    let disk = SimulatedDisk::new(1);
    let (mut j, _) = Journal::open(
        Box::new(disk.storage()),
        journal::now(),
        &journal::machine(),
        Limits::default(),
    )
    .unwrap();
    let attempt = |n: u8| Attempt {
        process_id: format!("{n:02x}").repeat(32),
        retries: i64::from(n),
        start_time: Time::from_unix_nanos(1_760_000_000_000_000_000),
    };
    let mut snaps: Vec<(&str, Vec<u8>)> = Vec::new();
    let snap = |disk: &SimulatedDisk| disk.content("journal").unwrap();
    for n in 0..3u8 {
        let mut b = journal::begun();
        b.attempt = attempt(n);
        j.begin(b).unwrap();
    }
    snaps.push(("begun", snap(&disk)));
    let report = |n: u8, close: Close| Report {
        attempt: attempt(n),
        close,
        attributes: vec![Attribute {
            target_id: attempt(n).process_id,
            target_colony_id: "c".repeat(64),
            kind: AttributeKind::Out,
            key: "state".into(),
            value: "on".into(),
            ..Attribute::default()
        }],
        attached: 0,
        at: journal::now(),
        lease_end: None,
        not_after: None,
    };
    j.record(Record::Result(report(0, Close::Successful))).unwrap();
    j.record(Record::Result(report(1, Close::Failed("interrupted".into()))))
        .unwrap();
    snaps.push(("results", snap(&disk)));
    j.append(Record::AttributeDelivered {
        attempt: attempt(0),
        index: 0,
    })
    .unwrap();
    j.append(Record::Delivered { attempt: attempt(0) }).unwrap();
    j.append(Record::Moot {
        attempt: attempt(1),
        reason: "assigned elsewhere".into(),
    })
    .unwrap();
    j.append(Record::FinalAtServer {
        process_id: attempt(0).process_id,
    })
    .unwrap();
    j.append(Record::Refused(Refused {
        process_id: "p5".into(),
        verb: "pulse".into(),
        device: "lamp".into(),
        reason: "stale".into(),
        wall: Time::from_unix_nanos(1_760_000_000_000_000_000),
    }))
    .unwrap();
    j.append(Record::LastGoodTime {
        wall: Time::from_unix_nanos(1_760_000_000_000_000_000),
    })
    .unwrap();
    j.sync().unwrap();
    snaps.push(("delivered", snap(&disk)));
    j.compact().unwrap();
    snaps.push(("compacted", snap(&disk)));
    j.distrust("a key that is older").unwrap();
    snaps.push(("distrusted", snap(&disk)));
    let dir = fuzz().join("corpus/journal");
    fs::create_dir_all(&dir).unwrap();
    for (name, file) in snaps {
        let mut raw = vec![2u8];
        raw.extend_from_slice(&file);
        fs::write(dir.join(format!("file-{name}")), &raw).unwrap();
        let mut bodies = vec![3u8];
        let mut at = 16;
        while at < file.len() {
            let len = u32::from_le_bytes([file[at + 1], file[at + 2], file[at + 3], 0]) as usize;
            bodies.extend_from_slice(&(len as u16).to_le_bytes());
            bodies.extend_from_slice(&file[at + 8..at + 8 + len]);
            at += 8 + len;
        }
        fs::write(dir.join(format!("bodies-{name}")), &bodies).unwrap();
    }
    let mut torn = vec![2u8];
    torn.extend_from_slice(&snap(&disk));
    let keep = torn.len() - 7;
    torn.truncate(keep);
    fs::write(dir.join("file-torn"), &torn).unwrap();
    let mut damaged = vec![2u8];
    damaged.extend_from_slice(&snap(&disk));
    damaged[40] ^= 1;
    fs::write(dir.join("file-damaged"), &damaged).unwrap();
    fs::write(dir.join("file-lost"), [2u8]).unwrap();
}
