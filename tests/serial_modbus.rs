//! Modbus on real pseudo-terminals: with our own slave, written from the specification, and with pymodbus, which
//! others wrote. Timing and misbehaviour are tested in memory (`src/device/modbus/`).

#![cfg(feature = "agent")]

mod serial_support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost::device::VerbError;
use outpost::device::modbus::{Memory, SimulatedSlave};
use serial_support::{Bench, Far};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const POINTS: &str = r#"
[[points]]
name = "valve"
memory = "coil"
address = 1
writable = true
safe = false

[[points]]
name = "door"
memory = "discrete"
address = 2

[[points]]
name = "temperature"
memory = "input"
address = 3
type = "i16"
scale = 0.1
unit = "°C"

[[points]]
name = "speed"
memory = "holding"
address = 2
writable = true
max = 3000
safe = 0

[[points]]
name = "setpoint"
memory = "holding"
address = 10
type = "f32"
writable = true

[[points]]
name = "counter"
memory = "holding"
address = 20
type = "i32"
writable = true

[[points]]
name = "nowhere"
memory = "holding"
address = 40
"#;

fn table(far: &Far) -> String {
    let port = far.path.display();
    format!(
        "kind = \"modbus\"\nport = \"{port}\"\nparity = \"none\"\nunit_id = 7\ntimeout = \"5s\"\n{POINTS}"
    )
}

#[tokio::test]
async fn our_own_slave_is_read_and_written() {
    let far = Far::open();
    let slave = SimulatedSlave::default();
    slave.set(7, Memory::Coil, 1, 0);
    slave.set(7, Memory::Input, 3, 215);
    slave.set(7, Memory::Holding, 2, 0);
    let bench = Bench::new(&table(&far));
    let serve = async {
        loop {
            let answer = slave.receive(&far.read().await);
            // In two parts, as a USB adapter would.
            let (first, second) = answer.split_at(answer.len() / 2);
            far.write(first).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            far.write(second).await;
        }
    };
    let work = async {
        let read = bench.run("read", &["temperature"]).await.unwrap();
        assert_eq!(read.get("temperature"), Some("21.5"));
        bench.run("write", &["valve", "on"]).await.unwrap();
        bench.run("write", &["speed", "1500"]).await.unwrap();
        bench.device.shutdown().await.unwrap();
    };
    tokio::select! {
        () = work => {}
        () = serve => unreachable!(),
    }
    assert_eq!(
        slave.writes(),
        [
            (7, Memory::Coil, 1, 1),
            (7, Memory::Holding, 2, 1500),
            (7, Memory::Coil, 1, 0),
            (7, Memory::Holding, 2, 0)
        ],
        "and made safe at the end, in order"
    );
}

#[tokio::test]
async fn unplugged_in_mid_answer_it_is_faulted_and_made_safe_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("usb-RS485");
    let slave = SimulatedSlave::default();
    slave.set(7, Memory::Coil, 1, 1);
    slave.set(7, Memory::Holding, 2, 9);
    let far = Far::open();
    serial_support::point(&name, &far.path).unwrap();
    let toml = table(&far).replace(&far.path.display().to_string(), &name.display().to_string());
    let bench = Bench::new(&toml);
    bench.until("open").await;
    let (result, ()) = tokio::join!(bench.run("write", &["speed", "5"]), async {
        let answer = slave.receive(&far.read().await);
        far.write(&answer[..3]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(far);
        std::fs::remove_file(&name).unwrap();
    });
    let error = result.unwrap_err();
    assert!(matches!(error, VerbError::NotSafe { .. }), "{error}");
    assert!(error.to_string().contains("usb-RS485 is gone"), "{error}");
    assert!(bench.device.fault().borrow().is_some());

    let far = Far::open();
    serial_support::point(&name, &far.path).unwrap();
    let serve = async {
        loop {
            far.write(&slave.receive(&far.read().await)).await;
        }
    };
    let safe = async {
        let mut fault = bench.device.fault();
        fault.wait_for(Option::is_none).await;
    };
    let waiting = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! { () = safe => {} () = serve => unreachable!() }
    });
    waiting.await.unwrap();
    assert_eq!(
        slave.writes(),
        [
            (7, Memory::Holding, 2, 5),
            (7, Memory::Coil, 1, 0),
            (7, Memory::Holding, 2, 0)
        ],
        "the write came once"
    );
}

/// The Python that has pymodbus: `OUTPOST_PEERS_PYTHON`, as `scripts/test peers` sets it, or the one that step made.
fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("OUTPOST_PEERS_PYTHON") {
        return Some(named.into());
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let made = target.join("peers/bin/python");
    made.exists().then_some(made)
}

#[tokio::test]
async fn pymodbus_is_read_and_written_and_says_what_it_understood() {
    let Some(python) = python() else {
        // Past the test harness, which swallows what a test that passes prints.
        let mut out = std::io::stderr();
        let _ = writeln!(
            out,
            "\n!!! NOT TESTED against pymodbus: ./scripts/test peers sets it up"
        );
        return;
    };
    // Each program has a terminal of its own; between them lies a wire.
    let (ours, theirs) = (Far::open(), Far::open());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/modbus_slave.py");
    let mut peer = Command::new(&python)
        .arg(&script)
        .arg(&theirs.path)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{python:?}: {error}"));
    let mut lines = BufReader::new(peer.stdout.take().unwrap()).lines();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let bench = Bench::new(&table(&ours));
    let wire = async {
        loop {
            tokio::select! {
                bytes = ours.read() => theirs.write(&bytes).await,
                bytes = theirs.read() => ours.write(&bytes).await,
            }
        }
    };
    let listen = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            heard.lock().unwrap().push(line);
        }
        panic!("pymodbus has ended");
    };
    let work = async {
        let patience = Duration::from_secs(60);
        let ready = async {
            while !heard.lock().unwrap().iter().any(|line| line == "ready") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, ready).await.expect("ready");
        let names = ["valve", "door", "temperature", "speed", "setpoint", "counter"];
        let read = bench.run("read", &names).await.unwrap();
        let values = names.map(|name| read.get(name).unwrap().to_owned());
        assert_eq!(values, ["off", "on", "-12.5", "3", "21.5", "-123456"]);

        for (name, value) in [
            ("valve", "on"),
            ("speed", "3000"),
            ("setpoint", "-0.375"),
            ("counter", "2147483647"),
        ] {
            let outcome = bench.run("write", &[name, value]).await.unwrap();
            assert_eq!(outcome.get(name), Some(value));
        }
        let error = bench.run("read", &["nowhere"]).await.unwrap_err().to_string();
        assert!(error.contains("illegal data address (2)"), "{error}");
        bench.run("write", &["speed", "3001"]).await.unwrap_err();
        bench.device.shutdown().await.unwrap();
        // What it said last may still be on its way through the pipe.
        let silent = async {
            let last = |lines: &[String]| lines.iter().filter(|line| *line == "6 2 0").count() == 1;
            while !last(&heard.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, silent).await.expect("made safe");
    };
    tokio::select! {
        () = work => {}
        () = wire => unreachable!(),
        () = listen => unreachable!(),
    }
    let heard = heard.lock().unwrap();
    let writes: Vec<&str> = heard
        .iter()
        .map(String::as_str)
        .filter(|line| {
            ["5 ", "6 ", "15 ", "16 "]
                .iter()
                .any(|function| line.starts_with(function))
        })
        .collect();
    assert_eq!(
        writes,
        [
            "5 1 1",
            "6 2 3000",
            "16 10 48832 0",
            "16 20 32767 65535",
            "5 1 0",
            "6 2 0"
        ],
        "each write once, nothing out of bounds, and made safe in order at the end"
    );
}

/// As the agent reads its file: what is behind a port is told apart by `kind`, and a misspelt key is named.
#[test]
fn the_agent_s_configuration_has_room_for_ports() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        devices: std::collections::BTreeMap<String, outpost::device::DeviceSettings>,
    }
    let read = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let env = std::iter::empty();
        outpost::config::load::<File>(Some(file.path()), "OUTPOST_AGENT", env)
            .map_err(|error| error.to_string())
    };
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/devices-serial.toml");
    let ports = std::fs::read_to_string(shipped).unwrap();
    let file = read(&ports).unwrap_or_else(|error| panic!("{error}\n{ports}"));
    assert_eq!(file.devices["meter"].kind(), "serial");
    assert_eq!(file.devices["boiler"].kind(), "modbus");
    assert!(file.devices.values().all(|device| device.warnings().is_empty()));
    let error = read(&ports.replace("address = 10", "adress = 10")).unwrap_err();
    assert!(error.contains("adress"), "{error}");
}
