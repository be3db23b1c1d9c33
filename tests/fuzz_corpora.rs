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
#[path = "../fuzz/src/mavlink.rs"]
mod mavlink;

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("configuration", configuration::run),
    ("envelope", envelope::run),
    ("framing", framing::run),
    ("journal", journal::run),
    ("json", json::run),
    ("mavlink", mavlink::run),
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
