//! MAVLink as others wrote it: pymavlink, an independent codec and signer, and the vehicle's side of MAVSDK, which takes
//! missions and commands. Between them and us are real pseudo-terminals; a vehicle of our own would repeat our mistakes.
//! `./scripts/test peers` installs them.

#![cfg(feature = "agent")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may stop it, too"
)]

mod serial_support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost::clock::{Clock as _, SystemClock};
use outpost::device::Call;
use outpost::device::drone::flight::Family;
use outpost::device::drone::flight::commands::{Answer, Command};
use outpost::device::drone::flight::readback::{ReadBack, compare};
use outpost::device::drone::flight::upload::Upload;
use outpost::device::drone::geo::Position;
use outpost::device::drone::link::{Address, Ends, Event, Link, Signing, SigningKey, SystemDial};
use outpost::device::drone::plan::{Home, Plan};
use outpost::device::drone::wire::{Heard, Item, ListKind, Node, ParamValue, Said, number};
use serde_json::{Value, json};
use serial_support::Far;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const US: Node = Node {
    system: 255,
    component: 191,
};
const VEHICLE: Node = Node {
    system: 1,
    component: 1,
};
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: [u8; 32] = [0xA7; 32];

/// The Python that has the peers: `OUTPOST_PEERS_PYTHON`, or the one that `scripts/test peers` made.
fn python(peer: &str) -> Option<PathBuf> {
    let made = || {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
        Some(target.join("peers/bin/python"))
    };
    let python = std::env::var_os("OUTPOST_PEERS_PYTHON").map_or_else(made, |named| Some(named.into()));
    let has = |python: &PathBuf| {
        let import = format!("import {peer}");
        let done = std::process::Command::new(python).args(["-c", &import]).output();
        done.is_ok_and(|done| done.status.success())
    };
    let found = python.filter(has);
    if found.is_none() {
        // Past the test harness, which swallows what a test that passes prints.
        let _ = writeln!(
            std::io::stderr(),
            "\n!!! NOT TESTED against {peer}: ./scripts/test peers sets it up"
        );
    }
    found
}

/// A program of theirs at the far end of a line, and what it prints.
struct Peer {
    port: PathBuf,
    told: Arc<Mutex<Vec<Value>>>,
    _child: tokio::process::Child,
}

impl Peer {
    async fn start(python: &Path, script: &str, more: &[&str]) -> Self {
        // Each program has a terminal of its own; between them lies a wire.
        let (ours, theirs) = (Far::open(), Far::open());
        let port = ours.path.clone();
        let mut child = tokio::process::Command::new(python)
            .arg(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/peers")
                    .join(script),
            )
            .arg(&theirs.path)
            .args(more)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    bytes = ours.read() => theirs.write(&bytes).await,
                    bytes = theirs.read() => ours.write(&bytes).await,
                }
            }
        });
        let told: Arc<Mutex<Vec<Value>>> = Arc::default();
        let to = told.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // MAVSDK logs in between.
                if let Ok(value) = serde_json::from_str(&line) {
                    to.lock().unwrap().push(value);
                }
            }
        });
        let peer = Peer {
            port,
            told,
            _child: child,
        };
        peer.until("ready").await;
        peer
    }

    fn all(&self, message: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap();
        told.iter()
            .filter(|one| one["message"] == message)
            .cloned()
            .collect()
    }

    async fn until(&self, message: &str) {
        let told = async {
            while self.all(message).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told)
            .await
            .unwrap_or_else(|_| panic!("no {message} in {:?}", self.told.lock().unwrap()));
    }

    fn link(&self, signing: Option<Signing>) -> Link {
        let clock = Arc::new(SystemClock);
        let ends = Ends {
            us: US,
            vehicle: VEHICLE,
        };
        let address = Address::parse(self.port.to_str().unwrap(), None).unwrap();
        Link::new(
            address,
            ends,
            Arc::new(SystemDial::new(clock.clone())),
            clock,
            signing,
            7,
        )
    }
}

async fn next(link: &mut Link) -> Event {
    tokio::time::timeout(PATIENCE, link.pump())
        .await
        .expect("nothing happens")
}

/// Everything that is heard until a heartbeat says this number.
async fn heard_until(link: &mut Link, last: u32) -> Vec<Heard> {
    let mut all = Vec::new();
    loop {
        match next(link).await {
            Event::Frame(frame) => {
                assert_eq!(frame.from, VEHICLE);
                let ends = matches!(frame.heard, Heard::Heartbeat { custom_mode, .. } if custom_mode == last);
                if ends {
                    return all;
                }
                all.push(frame.heard);
            }
            Event::Opened => {}
            Event::Lost(why) => panic!("{why}"),
        }
    }
}

fn heartbeat(custom_mode: u32) -> Heard {
    Heard::Heartbeat {
        autopilot: 3,
        vehicle: 2,
        base_mode: 209,
        custom_mode,
        system_status: 4,
    }
}

/// What mavlink_vehicle.py says of each kind.
fn kinds() -> Vec<Heard> {
    let home = Position::new(65.617, 22.137).unwrap();
    let mission = ListKind::Mission;
    let ack = |command, result, progress, target| Heard::CommandAck {
        command,
        result,
        progress,
        target,
    };
    let everybody = Node {
        system: 0,
        component: 0,
    };
    vec![
        heartbeat(1),
        Heard::SysStatus {
            present: 0x1000_0001,
            enabled: 3,
            health: 0x1000_0002,
            voltage: Some(12.6),
            battery_remaining: Some(87),
        },
        Heard::SysStatus {
            present: 1,
            enabled: 1,
            health: 1,
            voltage: None,
            battery_remaining: None,
        },
        Heard::GpsRaw {
            fix: 3,
            satellites: Some(11),
        },
        Heard::GlobalPosition {
            at: home,
            altitude_msl: 14.0,
            altitude: 12.5,
            north: 1.0,
            east: -2.0,
            down: 3.0,
        },
        Heard::ExtendedSysState { landed: 2 },
        Heard::MissionCurrent { seq: 2, state: 0 },
        Heard::MissionItemReached { seq: 1 },
        Heard::MissionRequest {
            list: mission,
            seq: 0,
        },
        Heard::MissionRequest {
            list: ListKind::Fence,
            seq: 4,
        },
        Heard::MissionCount {
            list: mission,
            count: 5,
        },
        Heard::MissionItem(Item {
            list: mission,
            seq: 2,
            frame: 3,
            command: 16,
            current: true,
            autocontinue: true,
            params: [1.5, 0.0, 0.0, 0.25],
            x: 656_173_000,
            y: -221_376_000,
            z: 12.5,
        }),
        Heard::MissionAck {
            list: ListKind::Fence,
            result: 13,
        },
        ack(400, 5, Some(50), US),
        ack(300, 0, None, everybody),
        // For somebody else, and told so.
        ack(
            20,
            0,
            None,
            Node {
                system: 7,
                component: 7,
            },
        ),
        Heard::ParamValue {
            name: "FS_GCS_ENABLE".to_owned(),
            value: ParamValue { raw: 1.0, kind: 9 },
        },
        Heard::HomePosition {
            at: home,
            altitude_msl: 14.0,
        },
        Heard::AutopilotVersion {
            capabilities: 8,
            firmware: 0x0407_0080,
        },
        Heard::FenceStatus {
            breached: true,
            kind: 2,
        },
        Heard::StatusText {
            severity: 4,
            text: "PreArm: this text is longer than the fifty characters of one message".to_owned(),
        },
        heartbeat(2),
    ]
}

/// One of each that we say.
fn sayings() -> Vec<(Said, Value)> {
    let to = json!({ "target_system": 1, "target_component": 1 });
    let with = |name: &str, more: Value| {
        let mut all = to.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        all.insert("message".to_owned(), json!(name));
        Value::Object(all)
    };
    let fence = ListKind::Fence;
    let item = Item {
        list: fence,
        seq: 3,
        frame: 6,
        command: 5001,
        current: false,
        autocontinue: true,
        params: [4.0, 0.0, 0.0, f32::NAN],
        x: -656_173_000,
        y: 221_376_001,
        z: -12.25,
    };
    let value = ParamValue { raw: 2.5, kind: 9 };
    let name = "BATT_FS_LOW_ACT".to_owned();
    vec![
        (
            Said::CommandLong {
                command: 400,
                confirmation: 2,
                params: [1.0, 0.0, 3.5, 0.0, -5.0, 6.0, 0.0],
            },
            with(
                "COMMAND_LONG",
                json!({"command": 400, "confirmation": 2, "param1": 1.0, "param3": 3.5, "param5": -5.0, "param6": 6.0, "param7": 0.0}),
            ),
        ),
        (
            Said::MissionCount {
                list: fence,
                count: 7,
            },
            with("MISSION_COUNT", json!({"count": 7, "mission_type": 1})),
        ),
        (
            Said::MissionItem(item),
            with(
                "MISSION_ITEM_INT",
                json!({"seq": 3, "frame": 6, "command": 5001, "current": 0, "autocontinue": 1, "param1": 4.0, "param4": "nan",
                    "x": -656_173_000, "y": 221_376_001, "z": -12.25, "mission_type": 1}),
            ),
        ),
        (
            Said::MissionRequestList { list: fence },
            with("MISSION_REQUEST_LIST", json!({"mission_type": 1})),
        ),
        (
            Said::MissionRequestInt { list: fence, seq: 9 },
            with("MISSION_REQUEST_INT", json!({"seq": 9, "mission_type": 1})),
        ),
        (
            Said::MissionAck {
                list: fence,
                result: 0,
            },
            with("MISSION_ACK", json!({"type": 0, "mission_type": 1})),
        ),
        (
            Said::MissionClearAll { list: fence },
            with("MISSION_CLEAR_ALL", json!({"mission_type": 1})),
        ),
        (
            Said::ParamRequestRead { name: name.clone() },
            with("PARAM_REQUEST_READ", json!({"param_id": name, "param_index": -1})),
        ),
        (
            Said::ParamSet {
                name: name.clone(),
                value,
            },
            with(
                "PARAM_SET",
                json!({"param_id": name, "param_value": 2.5, "param_type": 9}),
            ),
        ),
    ]
}

/// Says one of each, and compares what was understood.
async fn understood(link: &mut Link, peer: &Peer, signed: bool) {
    for (said, expected) in sayings() {
        let name = expected["message"].as_str().unwrap().to_owned();
        link.say(&said).unwrap();
        tokio::select! {
            () = peer.until(&name) => {}
            never = async { loop { next(link).await; } } => never,
        }
        let told = peer.all(&name).remove(0);
        assert_eq!(told["signed"], signed, "{told}");
        assert_eq!(told["from"], json!([255, 191]));
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(told[field], *value, "{field} of {told}");
        }
    }
    let beat = peer.all("HEARTBEAT").remove(0);
    assert_eq!(
        (&beat["type"], &beat["autopilot"]),
        (&json!(6), &json!(8)),
        "{beat}"
    );
    assert_eq!(peer.all("BAD_DATA"), [] as [Value; 0]);
}

#[tokio::test]
async fn pymavlink_and_we_understand_each_other() {
    let Some(python) = python("pymavlink") else { return };
    let peer = Peer::start(&python, "mavlink_vehicle.py", &[]).await;
    let mut link = peer.link(None);
    let mut expected = kinds();
    // The same in MAVLink 1; nothing of what came damaged.
    expected.extend([heartbeat(3), Heard::MissionItemReached { seq: 9 }]);
    assert_eq!(heard_until(&mut link, 999).await, expected);
    understood(&mut link, &peer, false).await;
}

#[tokio::test]
async fn pymavlink_and_we_believe_each_other_s_signatures_and_nobody_else_s() {
    let Some(python) = python("pymavlink") else { return };
    let peer = Peer::start(&python, "mavlink_vehicle.py", &[&hex::encode(KEY)]).await;
    let folder = tempfile::tempdir().unwrap();
    let stamps = folder.path().join("stamps");
    let signing = Signing::open(SigningKey::new(KEY), 191, &stamps, SystemClock.wall_nanos()).unwrap();
    let mut link = peer.link(Some(signing));
    // Unsigned, by another key, from the past, recorded, or in MAVLink 1, which has no signatures: none of it.
    assert_eq!(heard_until(&mut link, 999).await, kinds());
    understood(&mut link, &peer, true).await;
}

/// Something that asks and hears, until it has an end.
trait Exchange {
    type End;
    fn hear(&mut self, heard: &Heard);
    fn tick(&mut self) -> (Option<Said>, Option<Self::End>);
}

macro_rules! exchange {
    ($kind:ty, $end:ty, |$one:ident, $heard:ident, $now:ident| $hear:expr) => {
        impl Exchange for $kind {
            type End = $end;
            fn hear(&mut self, $heard: &Heard) {
                let ($one, $now) = (self, SystemClock.now());
                $hear
            }
            fn tick(&mut self) -> (Option<Said>, Option<$end>) {
                <$kind>::tick(self, SystemClock.now())
            }
        }
    };
}

type Taken = Result<(), outpost::device::drone::flight::upload::ListTrouble>;
exchange!(Upload, Taken, |one, heard, now| one.hear(heard, now));
exchange!(ReadBack, Taken, |one, heard, now| one.hear(heard, now));
exchange!(Command, Answer, |one, heard, now| one.hear(heard, US, now));

async fn run<E: Exchange>(link: &mut Link, mut exchange: E) -> (E, E::End) {
    loop {
        let (said, end) = exchange.tick();
        if let Some(end) = end {
            return (exchange, end);
        }
        if let Some(said) = said {
            link.say(&said).unwrap();
        }
        tokio::select! {
            event = link.pump() => if let Event::Frame(frame) = event {
                exchange.hear(&frame.heard);
            },
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

async fn command(link: &mut Link, number: u16, params: [f32; 7]) -> Answer {
    run(link, Command::new(number, params, SystemClock.now())).await.1
}

#[tokio::test]
async fn mavsdk_takes_a_mission_and_commands() {
    let Some(python) = python("mavsdk") else { return };
    let peer = Peer::start(&python, "mavsdk_vehicle.py", &[]).await;
    let mut link = peer.link(None);
    while !matches!(next(&mut link).await, Event::Frame(frame) if matches!(frame.heard, Heard::Heartbeat { .. }))
    {
    }
    let call = Call::new("dispatch")
        .arg("65.6173,22.137,10,3s")
        .arg("65.6173,22.1376,12");
    let home = Home {
        at: Position::new(65.617, 22.137).unwrap(),
        altitude_msl: 14.0,
    };
    let items = Plan::of(&call)
        .unwrap()
        .items(home, number::AUTOPILOT_ARDUPILOTMEGA);
    let upload = Upload::new(ListKind::Mission, items.clone(), SystemClock.now());
    assert_eq!(run(&mut link, upload).await.1, Ok(()));
    peer.until("mission").await;
    let took: Vec<Value> = items
        .iter()
        .map(|item| json!([item.seq, item.command, item.frame, item.x, item.y, item.z]))
        .collect();
    assert_eq!(peer.all("mission")[0]["items"], json!(took));

    // It gives the mission back as it was.
    let (back, end) = run(&mut link, ReadBack::new(ListKind::Mission, SystemClock.now())).await;
    assert_eq!(end, Ok(()));
    assert_eq!(compare(&items, back.items(), Family::Other(0)), Ok(()));

    // It arms, and never answers MISSION_START.
    let mut params = [0.0; 7];
    params[0] = 1.0;
    assert_eq!(
        command(&mut link, number::CMD_COMPONENT_ARM_DISARM, params).await,
        Answer::Accepted
    );
    peer.until("arm").await;
    assert_eq!(peer.all("arm")[0]["arm"], true);
    assert_eq!(
        command(&mut link, number::CMD_MISSION_START, [0.0; 7]).await,
        Answer::Silent
    );
}

/// It tells that it is no autopilot (0) and no multicopter (0): nothing is flown with that.
#[tokio::test]
async fn mavsdk_is_no_drone() {
    let Some(python) = python("mavsdk") else { return };
    let peer = Peer::start(&python, "mavsdk_vehicle.py", &[]).await;
    let bench = serial_support::Bench::new(&format!("kind = \"drone\"\nport = \"{}\"", peer.port.display()));
    let error = bench
        .run("dispatch", &["65.6173,22.137,10"])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("not flown") && error.contains("only multicopters with ArduPilot or PX4"),
        "{error}"
    );
    assert_eq!(peer.all("mission"), [] as [Value; 0], "nothing was uploaded");
    assert_eq!(peer.all("arm"), [] as [Value; 0]);
}
