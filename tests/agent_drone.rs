//! A drone as its users have it: the three programs as they are built, and the simulated vehicle at the far end of a real
//! pseudo-terminal. What really happened is asked of the vehicle.
#![cfg(all(feature = "agent", feature = "hub", feature = "cli"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may stop it, too"
)]

mod agent_rig;

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use agent_rig::{Program, Rig, out, run_agent, until};
use outpost::keyfile;
use outpost::protocol::PrivateKey;
use outpost::vehicle::{
    Cause, Config, Family, Faults, Mode, Pty, Server, Signing, Simulation, Trouble, Truth,
};
use rustix::process::Signal;

/// What the drone is told to fly unless a test says otherwise.
const SPEC: &str = "configs/processes/drone-dispatch.json";

/// A hub, and a vehicle on a pseudo-terminal.
struct Dock {
    rig: Rig,
    vehicle: Server,
    port: PathBuf,
    /// Lines of the device's table.
    settings: String,
}

impl Dock {
    async fn new() -> Self {
        Dock::with("", |_| {}).await
    }

    /// The vehicle flies, climbs and sinks faster than a real one, so that nobody has to wait; its time is real time.
    async fn with(settings: &str, change: impl FnOnce(&mut Config)) -> Self {
        let rig = Rig::start().await;
        let mut config = Config::new(Family::ArduPilot).settled().with_failsafes();
        change(&mut config);
        config.limits.cruise = 12.0;
        config.limits.acceleration = 6.0;
        config.limits.climb = 6.0;
        config.limits.descent = 5.0;
        config.limits.landing = 2.0;
        config.limits.landing_below = 4.0;
        let vehicle = Server::new(Simulation::new(config, Faults::default(), 1), 1.0);
        let port = rig.folder.path().join("autopilot");
        let mut far = Pty::open(Some(port.clone())).unwrap();
        let serves = vehicle.clone();
        tokio::spawn(async move { far.serve(&serves).await });
        let key = rig.folder.path().join("operator.key");
        keyfile::store(&key, &PrivateKey::from_hex(&"55".repeat(32)).unwrap()).unwrap();
        Dock {
            rig,
            vehicle,
            port,
            settings: settings.to_owned(),
        }
    }

    fn configure(&self, agent: &str) -> PathBuf {
        let device = format!(
            "{agent}\n[devices.dock]\nkind = \"drone\"\nport = \"{}\"\n{}",
            self.port.display(),
            self.settings
        );
        self.rig.configure("dock-1", &device)
    }

    async fn agent(&self) -> Program {
        let agent = run_agent(&self.configure(""));
        agent.logged("enrolled as dock-1.control").await;
        agent
    }

    /// Runs the command line as the operator.
    async fn outpost(&self, words: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_outpost"));
        command
            .args(words)
            .args([
                "--server",
                &self.rig.url,
                "--colony",
                &self.rig.colony_id,
                "--key",
            ])
            .arg(self.rig.folder.path().join("operator.key"))
            .env("HOME", self.rig.folder.path())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.output().await.unwrap()
    }

    /// Submits without waiting for its end, and gives its id.
    async fn dispatch(&self) -> String {
        self.submitted(&["submit", "--runtime", "dock-1", SPEC, "--json"])
            .await
    }

    /// The same to a place where it then stays for a minute.
    async fn dispatch_to_stay(&self) -> String {
        let words = "run dock.dispatch 65.6173,22.1370,10,60s --runtime dock-1 --exec-time 600 --json";
        self.submitted(&words.split(' ').collect::<Vec<_>>()).await
    }

    async fn submitted(&self, words: &[&str]) -> String {
        let done = self.outpost(words).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let process: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        process["processid"].as_str().unwrap().to_owned()
    }

    async fn truth_until(&self, what: &str, wish: impl Fn(&Truth) -> bool) {
        let met = self.vehicle.until(Duration::from_secs(90), &wish).await;
        assert!(met, "never {what}: {:#?}", self.vehicle.truth());
    }

    async fn on_its_way(&self) {
        self.truth_until("on its way", |truth| truth.airborne() && truth.farthest > 10.0)
            .await;
    }

    async fn home(&self) -> Truth {
        self.truth_until("home", |truth| {
            !truth.armed && truth.landings.len() == truth.take_offs.len() && !truth.take_offs.is_empty()
        })
        .await;
        let truth = self.vehicle.truth();
        assert!(!truth.crashed, "{truth:#?}");
        truth
    }

    fn flight_note(&self) -> PathBuf {
        self.rig.folder.path().join("dock-1/flights/dock")
    }
}

fn returned_by_us(truth: &Truth) -> bool {
    truth
        .modes
        .iter()
        .any(|(_, mode, cause)| *mode == Mode::Return && matches!(cause, Cause::Command(255, _)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatch_is_checked_watched_and_ends_well_with_a_track() {
    let dock = Dock::new().await;
    let _agent = dock.agent().await;
    let words = "run dock.preflight 65.6173,22.1370,10 --runtime dock-1 --exec-time 600 --wait";
    let ready = dock.outpost(&words.split(' ').collect::<Vec<_>>()).await;
    let text = String::from_utf8(ready.stdout).unwrap();
    assert_eq!(ready.status.code(), Some(0), "{text}");
    assert!(text.contains("ready to arm"), "{text}");
    assert!(dock.vehicle.truth().arms.is_empty());

    let words = ["submit", "--runtime", "dock-1", SPEC, "--wait"];
    let flown = dock.outpost(&words);
    let watched = async {
        dock.on_its_way().await;
        let words = ["run", "dock.status", "--runtime", "dock-1", "--wait"];
        let status = dock.outpost(&words).await;
        let text = String::from_utf8(status.stdout).unwrap();
        assert!(
            text.contains("flying") && text.contains("altitude_metres"),
            "{text}"
        );
    };
    let (flown, ()) = tokio::join!(flown, watched);
    let text = String::from_utf8(flown.stdout).unwrap();
    assert_eq!(
        flown.status.code(),
        Some(0),
        "{text}\n{}",
        String::from_utf8_lossy(&flown.stderr)
    );
    for told in ["track", "LineString", "progress.1", "time_aloft_seconds"] {
        assert!(text.contains(told), "no {told} in\n{text}");
    }
    let truth = dock.home().await;
    assert_eq!((truth.take_offs.len(), truth.arms.len()), (1, 1));
    assert!((35.0..60.0).contains(&truth.farthest), "{}", truth.farthest);
    assert!(!dock.flight_note().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_past_five_dispatches_is_acted_on_within_two_seconds() {
    let dock = Dock::new().await;
    let _agent = dock.agent().await;
    let first = dock.dispatch().await;
    dock.on_its_way().await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(dock.dispatch().await);
    }
    let asked = Instant::now();
    let abort = dock.outpost(&["run", "dock.abort", "--runtime", "dock-1", "--wait"]);
    let (abort, ()) = tokio::join!(abort, async {
        dock.truth_until("on its way home", returned_by_us).await;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    });
    let text = String::from_utf8(abort.stdout).unwrap();
    assert_eq!(abort.status.code(), Some(0), "{text}");
    assert!(text.contains("returning"), "{text}");
    // Nobody flies any more.
    for id in &waiting {
        dock.rig.operator().delete_process(id).await.unwrap();
    }
    let process = dock.rig.failed(&first).await;
    assert!(
        process.error_message.contains("told to abort"),
        "{}",
        process.error_message
    );
    assert!(out(&process, "track").is_some());
    assert_eq!(dock.home().await.take_offs.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_stopped_in_mid_flight_sends_the_drone_home_and_sees_it_obey() {
    let dock = Dock::new().await;
    let mut agent = dock.agent().await;
    let id = dock.dispatch().await;
    dock.on_its_way().await;
    let asked = Instant::now();
    agent.signal(Signal::TERM);
    let status = agent.ended().await;
    assert!(status.success(), "{status:?}\n{}", agent.log());
    // The grace for work, and for making safe.
    assert!(asked.elapsed() < Duration::from_secs(25), "{:?}", asked.elapsed());
    let truth = dock.vehicle.truth();
    assert!(returned_by_us(&truth), "{truth:#?}");
    assert_eq!(truth.mode, Mode::Return, "it is on its way while nobody watches");
    assert!(dock.flight_note().exists());
    let process = dock.rig.failed(&id).await;
    assert!(
        process.error_message.contains("SIGTERM") || process.error_message.contains("stop"),
        "{}",
        process.error_message
    );
    // Another life of the agent watches it home.
    let _again = dock.agent().await;
    let truth = dock.home().await;
    assert_eq!(truth.take_offs.len(), 1);
    until(
        || async { (!dock.flight_note().exists()).then_some(()) },
        || "the note of the flight is still there".to_owned(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_in_mid_flight_brings_the_drone_home_in_its_next_life() {
    let dock = Dock::new().await;
    let mut agent = dock.agent().await;
    let id = dock.dispatch().await;
    dock.on_its_way().await;
    agent.kill();
    assert!(dock.flight_note().exists());
    let again = dock.agent().await;
    again.logged("it is taken up").await;
    dock.truth_until("on its way home", returned_by_us).await;
    let process = dock.rig.failed(&id).await;
    assert!(
        process.error_message.contains("interrupted"),
        "{}",
        process.error_message
    );
    assert_eq!(dock.home().await.take_offs.len(), 1);
    until(
        || async { (!dock.flight_note().exists()).then_some(()) },
        || "the note of the flight is still there".to_owned(),
    )
    .await;
}

/// What happens to a flight when … Each has its own hub, agent and vehicle, and they mostly wait: side by side they take no longer
/// than the longest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_when() {
    let mut scenes = tokio::task::JoinSet::new();
    scenes.spawn(a_pilot_takes_over_while_no_agent_lives());
    scenes.spawn(its_process_is_deleted());
    scenes.spawn(the_server_is_lost());
    scenes.spawn(its_battery_is_low());
    scenes.spawn(both_ends_sign());
    scenes.spawn(its_cable_is_pulled());
    while let Some(scene) = scenes.join_next().await {
        scene.unwrap();
    }
}

/// What a pilot took over while no agent lived is left to him, and told.
async fn a_pilot_takes_over_while_no_agent_lives() {
    let dock = Dock::new().await;
    let mut agent = dock.agent().await;
    let id = dock.dispatch_to_stay().await;
    dock.on_its_way().await;
    agent.kill();
    dock.vehicle
        .with(|simulation| simulation.trouble(Trouble::Pilot(Mode::Loiter)));
    let _again = dock.agent().await;
    let process = dock.rig.failed(&id).await;
    for told in ["interrupted", "hands off"] {
        assert!(process.error_message.contains(told), "{}", process.error_message);
    }
    let truth = dock.vehicle.truth();
    assert!(truth.airborne() && truth.mode == Mode::Loiter, "{truth:#?}");
    assert!(!returned_by_us(&truth), "{truth:#?}");
}

/// It comes home.
async fn its_process_is_deleted() {
    let dock = Dock::new().await;
    let agent = dock.agent().await;
    let id = dock.dispatch_to_stay().await;
    dock.on_its_way().await;
    dock.rig.operator().delete_process(&id).await.unwrap();
    dock.truth_until("on its way home", returned_by_us).await;
    assert_eq!(dock.home().await.take_offs.len(), 1);
    agent.logged("flight over").await;
}

/// It comes home, and that is told when the server is back.
async fn the_server_is_lost() {
    let dock = Dock::with("lost_after = \"12s\"", |_| {}).await;
    let _agent = dock.agent().await;
    let id = dock.dispatch_to_stay().await;
    dock.on_its_way().await;
    // It takes connections, and says nothing any more.
    dock.rig.hub.signal(Signal::STOP);
    dock.truth_until("on its way home", returned_by_us).await;
    assert_eq!(dock.home().await.take_offs.len(), 1);
    dock.rig.hub.signal(Signal::CONT);
    let process = dock.rig.failed(&id).await;
    assert!(
        process.error_message.contains("the server was not heard for"),
        "{}",
        process.error_message
    );
    assert!(out(&process, "track").is_some());
}

/// It comes home.
async fn its_battery_is_low() {
    let dock = Dock::with("battery_reserve = 40", |_| {}).await;
    let _agent = dock.agent().await;
    let id = dock.dispatch_to_stay().await;
    dock.on_its_way().await;
    dock.vehicle
        .with(|simulation| simulation.trouble(Trouble::Battery(35.0)));
    dock.truth_until("on its way home", returned_by_us).await;
    let process = dock.rig.failed(&id).await;
    assert!(
        process.error_message.contains("below battery_reserve = 40"),
        "{}",
        process.error_message
    );
    assert_eq!(dock.home().await.take_offs.len(), 1);
}

/// It flies as any other. (That it does not with another key: src/device/drone/flight/tests.)
async fn both_ends_sign() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("mavlink.key");
    keyfile::store(&file, &PrivateKey::from_hex(&"77".repeat(32)).unwrap()).unwrap();
    let settings = format!("signing_key = \"{}\"", file.display());
    let dock = Dock::with(&settings, |config| {
        config.signing = Some(Signing {
            key: [0x77; 32],
            accept_unsigned: false,
            timestamp: 0,
        });
    })
    .await;
    let _agent = dock.agent().await;
    let words = ["submit", "--runtime", "dock-1", SPEC, "--wait"];
    let flown = dock.outpost(&words).await;
    assert_eq!(
        flown.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&flown.stderr)
    );
    assert_eq!(dock.home().await.take_offs.len(), 1);
}

/// That is told once, with what to do, and once more when it is back.
async fn its_cable_is_pulled() {
    let dock = Dock::new().await;
    let agent = dock.agent().await;
    let opened = "link to the autopilot opened";
    let before = agent.logged(opened).await.len();
    dock.vehicle
        .with(|simulation| simulation.unplug(Duration::from_secs(5)));
    let since = || agent.log().split_off(before);
    until(
        || async { since().contains(opened).then_some(()) },
        || format!("it is never opened again:\n{}", since()),
    )
    .await;
    let log = since();
    // Of the dock alone: the agent may be enrolled only now, and says so too.
    let lines = |level: &str| -> Vec<&str> {
        let of_it = log.lines().filter(|line| line.contains("device=\"dock\""));
        of_it.filter(|line| line.contains(level)).collect()
    };
    let [lost] = lines(" WARN ")[..] else {
        panic!("{log}")
    };
    for told in ["unplugged", "as soon as it is back"] {
        assert!(lost.contains(told), "{lost}");
    }
    assert_eq!(lines(" INFO ").len(), 1, "{log}");
}

/// Whoever has no TLS to a server elsewhere is told before anything flies, and what to do.
#[tokio::test]
async fn a_server_elsewhere_needs_tls() {
    let dock = Dock::new().await;
    let file = dock.configure("");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&dock.rig.url, "http://hub.example:50080")).unwrap();
    let mut agent = run_agent(&file);
    let status = agent.ended().await;
    assert_eq!(status.code(), Some(2));
    let log = agent.log();
    assert!(
        log.contains("devices.dock.hazardous") && log.contains("use an https address"),
        "{log}"
    );
}
