//! docs/commands.md says what the code does: its examples are read, its tables and lists compared.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

use std::collections::{BTreeMap, BTreeSet};

use outpost::device::DeviceSettings;
use outpost::device::command::environment::{DANGEROUS, DANGEROUS_BEGINNINGS, PASSED_BY_DEFAULT};
use serde::Deserialize;
use serde_json::json;

const PAGE: &str = include_str!("../docs/commands.md");

fn between<'a>(from: &str, to: &str) -> &'a str {
    let (_, rest) = PAGE.split_once(from).unwrap_or_else(|| panic!("no {from:?}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to:?}")).0
}

#[test]
fn the_examples_are_configurations() {
    #[derive(Deserialize)]
    struct File {
        devices: BTreeMap<String, DeviceSettings>,
    }
    let mut kinds = BTreeSet::new();
    for example in PAGE.split("```toml\n").skip(1) {
        let text = example.split("```").next().unwrap();
        let file = config::Config::builder()
            .add_source(config::File::from_str(text, config::FileFormat::Toml))
            .build()
            .unwrap();
        let file: File = file.try_deserialize().unwrap();
        kinds.extend(file.devices.values().map(DeviceSettings::kind));
    }
    assert_eq!(kinds, BTreeSet::from(["command", "shell-worker"]));
}

#[test]
fn the_table_has_every_key_and_the_defaults_are_those_of_the_code() {
    let table = between("| key of a function |", "\n\n");
    let rows: BTreeMap<&str, &str> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.trim_end_matches('`'), cells.next()?))
        })
        .collect();
    let function = json!({ "program": "/bin/true", "no-such-key": 1 });
    let unknown = json!({ "kind": "command", "functions": { "f": function } });
    let error = serde_json::from_value::<DeviceSettings>(unknown)
        .unwrap_err()
        .to_string();
    let known = error.split("expected one of ").nth(1).unwrap();
    let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
    assert_eq!(rows.keys().copied().collect::<BTreeSet<_>>(), known);

    // Written out, the defaults change nothing.
    let settings = |function: serde_json::Value| {
        let device = json!({ "kind": "command", "functions": { "f": function } });
        serde_json::from_value::<DeviceSettings>(device).unwrap()
    };
    let mut written = json!({ "program": "/bin/true" });
    for (key, default) in &rows {
        let value = default.trim_matches('`');
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(value) {
            written[*key] = value;
        }
    }
    assert_eq!(written.as_object().unwrap().len(), 11, "{written}");
    assert_eq!(settings(written), settings(json!({ "program": "/bin/true" })));
    let passed: Vec<&str> = rows["pass_env"].split('`').skip(1).step_by(2).collect();
    assert_eq!(passed, PASSED_BY_DEFAULT);
}

#[test]
fn the_names_that_are_refused_are_all_there() {
    let list = between("<!-- compared with the code by a test -->", "<!-- end -->");
    let listed: BTreeSet<String> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let names = DANGEROUS.iter().map(|name| (*name).to_owned());
    let beginnings = DANGEROUS_BEGINNINGS.iter().map(|name| format!("{name}*"));
    assert_eq!(listed, names.chain(beginnings).collect::<BTreeSet<_>>());
}

#[test]
fn the_drop_in_that_is_named_is_shipped() {
    let name = between("install `", "`");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let refused = outpost::device::command::account::AccountError::NotAllowed { name: "x".into() };
    assert!(refused.to_string().contains(name));
    for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"] {
        assert!(text.contains(capability) && PAGE.contains(capability));
    }
}
