//! What the page on drones and the shipped tables say is what there is.

#![cfg(all(feature = "agent", feature = "cli"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers may stop it, too"
)]

use std::fs;
use std::path::Path;

use outpost::device::drone::flight::failsafes;
use outpost::device::{DeviceSettings, Hardware};
use outpost::vehicle::GRAMMAR;

fn read(relative: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)).unwrap()
}

fn settings(toml: &str) -> Result<DeviceSettings, String> {
    let source = config::File::from_str(toml, config::FileFormat::Toml);
    let file = config::Config::builder().add_source(source).build().unwrap();
    file.try_deserialize().map_err(|error| error.to_string())
}

/// Every key of a drone, as the reader of its table knows them.
fn keys() -> Vec<String> {
    let error = settings("kind = \"drone\"\nport = \"/dev/x\"\nno_such_key = 1").unwrap_err();
    let known = error
        .split("expected one of ")
        .nth(1)
        .unwrap_or_else(|| panic!("{error}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The lines of a TOML text that set a key, commented out or not: key and value.
fn set(text: &str) -> Vec<(&str, &str)> {
    let line = |line| {
        let (key, value) = str::trim_start_matches(line, '#').split_once(" = ")?;
        let is_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_key.then_some((key, value))
    };
    text.lines().filter_map(line).collect()
}

const CARE: [&str; 5] = ["hazardous", "require_target", "insecure", "queue_wait", "max_age"];

#[test]
fn the_shipped_table_has_every_key_with_its_default() {
    let text = read("configs/devices-drone.toml");
    let table = text.split("[devices.dock]\n").nth(1).unwrap();
    let defaults = settings("kind = \"drone\"\nport = \"/dev/x\"").unwrap();
    let written = set(table);
    let keys = keys();
    assert!(keys.len() > 20, "{keys:?}");
    for key in &keys {
        let times = written.iter().filter(|(name, _)| name == key).count();
        assert_eq!(times, 1, "{key}");
    }
    let mut compared = 0;
    for (key, value) in written {
        let is_known = key == "kind" || CARE.contains(&key) || keys.iter().any(|known| known == key);
        assert!(is_known, "there is no {key}");
        if ["kind", "port"].contains(&key) || CARE.contains(&key) {
            continue;
        }
        let given = settings(&format!("kind = \"drone\"\nport = \"/dev/x\"\n{key} = {value}"))
            .unwrap_or_else(|error| panic!("{key} = {value}: {error}"));
        // Of these there is no default to write.
        if ["signing_key", "fence", "allowed_hours", "requires"].contains(&key) {
            assert_ne!(given, defaults, "{key}");
            continue;
        }
        assert_eq!(given, defaults, "{key} = {value} is not the default");
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

/// What is written as code in a page, outside blocks.
fn code(page: &str) -> Vec<String> {
    let prose: String = page.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_names_every_key_verb_failsafe_and_fault_and_no_others() {
    let page = read("docs/drone.md");
    let pieces = code(&page);
    let is_told = |name: &str| {
        pieces
            .iter()
            .any(|piece| piece == name || piece.starts_with(&format!("{name} = ")))
    };
    let keys = keys();
    for key in &keys {
        assert!(is_told(key), "docs/drone.md does not tell of {key}");
    }
    let shipped = [read("configs/agent.toml"), read("configs/devices-drone.toml")].concat();
    for piece in &pieces {
        let Some((key, _)) = piece.split_once(" = ") else {
            continue;
        };
        assert!(
            set(&shipped).iter().any(|(known, _)| *known == key),
            "`{piece}`: there is no key {key}"
        );
    }
    let drone = settings("kind = \"drone\"\nport = \"/dev/x\"").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let device = runtime
        .block_on(async {
            let clock = std::sync::Arc::new(outpost::clock::SystemClock);
            outpost::device::open("dock", &drone, &Hardware::new(clock))
        })
        .unwrap();
    for verb in device.verbs() {
        assert!(
            is_told(&verb.name),
            "docs/drone.md does not tell of {}",
            verb.name
        );
    }
    for (name, value) in failsafes::wanted() {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` | {value} |")));
        assert!(row.is_some(), "docs/drone.md does not say {name} = {value}");
    }
    for line in GRAMMAR.lines().filter(|line| line.starts_with("  ")) {
        let words = line
            .split_whitespace()
            .take_while(|word| word.contains(['=', '@']));
        for word in words {
            let name = word.split(['=', '@']).next().unwrap();
            assert!(
                page.contains(&format!("{name}=")) || page.contains(&format!("{name}@")),
                "no fault {name}"
            );
        }
    }
    // What is tried with the simulated vehicle can be read by it.
    let mut tried = 0;
    for faults in page
        .split("--faults '")
        .skip(1)
        .filter_map(|rest| rest.split('\'').next())
    {
        faults.parse::<outpost::vehicle::Faults>().unwrap();
        tried += 1;
    }
    assert!(tried >= 1, "no --faults '…' in docs/drone.md");
}
