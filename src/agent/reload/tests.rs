use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::agent::settings;
use crate::clock::TestClock;
use crate::device::command::Pool;
use crate::device::gpio::{Level, LineFault, SimulatedBoard};
use crate::device::{Call, Context, Device, DeviceHandle, Live, Outcome, Verb, owner};

const HEAD: &str = "[colony]\nid = \"4787a5071856a4acf702b2ffcea422e3237a679c681314113d86139461290cf4\"\n\
                    [runtime]\ntype = \"cli\"\n[gpio]\nbackend = \"simulated\"\n";

fn parse(folder: &Path, text: &str) -> Settings {
    let file = folder.join("agent.toml");
    std::fs::write(&file, format!("{HEAD}{text}")).unwrap();
    let state = (
        "OUTPOST_AGENT__AGENT__STATE_DIR".to_owned(),
        folder.display().to_string(),
    );
    settings::load(Some(&file), std::iter::once(state)).unwrap()
}

fn lamp(name: &str, line: &str) -> String {
    format!("[devices.{name}]\nkind = \"lamp\"\nline = \"{line}\"\n")
}

struct Bench {
    clock: Arc<TestClock>,
    board: SimulatedBoard,
    devices: Devices,
    current: Settings,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(text: &str) -> Self {
        let clock = TestClock::new(0);
        let board = SimulatedBoard::new(clock.clone());
        let folder = tempfile::tempdir().unwrap();
        let current = parse(folder.path(), text);
        let shared: crate::clock::SharedClock = clock.clone();
        Bench {
            devices: Devices::open(&current, &board, &shared).unwrap(),
            clock,
            board,
            current,
            folder,
        }
    }

    async fn reload(&mut self, text: &str) -> Result<(), String> {
        let new = parse(self.folder.path(), text);
        let outcome = self.devices.reload(&mut self.current, new).await;
        outcome.map_err(|error| error.to_string())
    }

    fn functions(&self) -> Vec<String> {
        let registry = self.devices.registry().current();
        registry.names().map(str::to_owned).collect()
    }

    fn device(&self, func: &str) -> DeviceHandle {
        self.devices
            .registry()
            .current()
            .find(func)
            .unwrap()
            .device
            .handles()[0]
            .clone()
    }

    async fn run(&self, func: &str) -> Result<(), String> {
        let registry = self.devices.registry().current();
        let function = registry.find(func).map_err(|error| error.to_string())?;
        let call = Call::new(function.verb.name.to_string());
        let done = function
            .device
            .perform(call, Context::new(self.clock.clone()))
            .await;
        done.map(drop).map_err(|error| error.to_string())
    }

    /// Every edge so far: line and level.
    fn edges(&self) -> Vec<(String, Level)> {
        let edges = self.board.edges().into_iter();
        edges.map(|edge| (edge.line, edge.level)).collect()
    }
}

fn edge(line: &str, level: Level) -> (String, Level) {
    (line.to_owned(), level)
}

#[tokio::test(start_paused = true)]
async fn what_did_not_change_is_not_touched_and_what_did_is_safe_on_its_old_line_first() {
    let porch = lamp("porch", "GPIO22");
    let mut bench = Bench::new(&(lamp("lamp", "GPIO17") + &porch));
    bench.run("lamp.on").await.unwrap();
    bench.run("porch.on").await.unwrap();
    let kept = bench.device("porch.on");
    let old = bench.device("lamp.on");

    let changed = "[devices.lamp]\nkind = \"lamp\"\nline = \"GPIO27\"\non_start = \"on\"\n";
    bench.reload(&format!("{changed}{porch}")).await.unwrap();
    assert_eq!(
        bench.edges()[2..],
        [edge("GPIO17", Level::Off), edge("GPIO27", Level::On)],
        "the old line first; nothing on the porch"
    );
    assert!(kept.tick().await.is_ok() && !kept.is_busy());
    assert!(old.tick().await.is_err(), "the old one is closed");
    bench.run("lamp.off").await.unwrap();
    assert_eq!(bench.edges().last().unwrap(), &edge("GPIO27", Level::Off));

    // The line that was released can be had by another device at once, in one reload.
    let swapped = lamp("lamp", "GPIO17") + &lamp("porch", "GPIO27");
    bench.reload(&swapped).await.unwrap();
    bench.run("porch.on").await.unwrap();
    assert_eq!(bench.edges().last().unwrap(), &edge("GPIO27", Level::On));
}

#[tokio::test(start_paused = true)]
async fn devices_and_names_come_and_go() {
    let mut bench = Bench::new(&lamp("lamp", "GPIO17"));
    bench.run("lamp.on").await.unwrap();
    let text = lamp("porch", "GPIO22") + "[functions]\nwelcome = \"porch.on\"\n[agent]\nmax_age = \"7s\"\n";
    bench.reload(&text).await.unwrap();
    assert_eq!(
        bench.board.levels("GPIO17").last(),
        Some(&Level::Off),
        "gone, and safe"
    );
    let functions = bench.functions();
    assert!(functions.contains(&"welcome".to_owned()) && functions.contains(&"sleep".to_owned()));
    assert!(
        !functions.iter().any(|name| name.starts_with("lamp.")),
        "{functions:?}"
    );
    let registry = bench.devices.registry().current();
    assert_eq!(
        registry.find("porch.on").unwrap().rules.max_age,
        Some(Duration::from_secs(7))
    );
    bench.run("welcome").await.unwrap();

    // Names alone touch no device.
    let edges = bench.edges();
    bench.reload(&lamp("porch", "GPIO22")).await.unwrap();
    assert!(!bench.functions().contains(&"welcome".to_owned()));
    assert_eq!(bench.edges(), edges);
}

#[tokio::test(start_paused = true)]
async fn a_changed_device_that_is_busy_refuses_the_whole_reload() {
    let mut bench = Bench::new(&(lamp("lamp", "GPIO17") + &lamp("porch", "GPIO22")));
    let device = bench.device("lamp.pulse");
    let context = Context::new(bench.clock.clone()).with_process("abc");
    let pulse = tokio::spawn(async move { device.perform(Call::new("pulse").arg("60s"), context).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.run("porch.on").await.unwrap();
    let edges = bench.edges();

    let both = lamp("lamp", "GPIO27") + &lamp("porch", "GPIO5");
    let error = bench.reload(&both).await.unwrap_err();
    assert!(error.contains("lamp changed and is busy with abc"), "{error}");
    assert_eq!(bench.edges(), edges, "not even the idle one was touched");
    bench.run("porch.off").await.unwrap();

    // Another device may change while this one works.
    bench
        .reload(&(lamp("lamp", "GPIO17") + &lamp("porch", "GPIO5")))
        .await
        .unwrap();
    assert!(!pulse.is_finished());
    pulse.await.unwrap().unwrap();
    bench.reload(&both).await.unwrap();
    bench.run("lamp.on").await.unwrap();
    assert_eq!(bench.edges().last().unwrap(), &edge("GPIO27", Level::On));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_can_not_be_made_safe_keeps_its_line() {
    let mut bench = Bench::new(&lamp("lamp", "GPIO17"));
    bench.run("lamp.on").await.unwrap();
    bench.board.set_fault("GPIO17", Some(LineFault::Error(5)));
    let error = bench.reload(&lamp("lamp", "GPIO27")).await.unwrap_err();
    assert!(
        error.contains("lamp") && error.contains("keeps its line"),
        "{error}"
    );
    assert_eq!(bench.board.physical("GPIO27"), None, "the new line was not taken");
    bench.board.set_fault("GPIO17", None);
    bench.reload(&lamp("lamp", "GPIO27")).await.unwrap();
    assert_eq!(bench.board.levels("GPIO17").last(), Some(&Level::Off));
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_opened_brings_the_old_devices_back() {
    let first = lamp("lamp", "GPIO17") + &lamp("porch", "GPIO22") + "[functions]\nshine = \"lamp.on\"\n";
    let mut bench = Bench::new(&first);
    // The porch's line is held, by the porch.
    let error = bench
        .reload(&(lamp("lamp", "GPIO22") + &lamp("porch", "GPIO22")))
        .await
        .unwrap_err();
    assert!(
        error.contains("GPIO22") && error.ends_with("open again"),
        "{error}"
    );
    bench.run("shine").await.unwrap();
    assert_eq!(bench.edges().last().unwrap(), &edge("GPIO17", Level::On));
    assert!(bench.device("lamp.on").tick().await.is_ok());

    // And if an old one is lost as well, that is said, and the rest goes on: here its line breaks meanwhile.
    bench.board.set_fault("GPIO27", Some(LineFault::Error(5)));
    let board = bench.board.clone();
    bench.board.on_edge(move |edge| {
        if edge.line == "GPIO4" {
            board.set_fault("GPIO17", Some(LineFault::Error(5)));
        }
    });
    let attic = "[devices.attic]\nkind = \"lamp\"\nline = \"GPIO4\"\non_start = \"on\"\n";
    let next = lamp("lamp", "GPIO27") + &lamp("porch", "GPIO22") + attic;
    let error = bench.reload(&next).await.unwrap_err();
    assert!(
        error.contains("GPIO27") && error.contains("except: lamp (") && error.contains("GPIO17"),
        "{error}"
    );
    assert_eq!(bench.board.levels("GPIO4"), [Level::On, Level::Off]);
    assert_eq!(
        bench.functions(),
        [
            "echo",
            "porch.off",
            "porch.on",
            "porch.pulse",
            "porch.state",
            "porch.toggle",
            "sleep"
        ]
    );
    bench.run("porch.on").await.unwrap();
    // Repaired, the same configuration can be loaded after all.
    for line in ["GPIO17", "GPIO27"] {
        bench.board.set_fault(line, None);
    }
    bench.reload(&next).await.unwrap();
    bench.run("lamp.on").await.unwrap();
}

#[test]
fn what_only_a_start_reads_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let old = parse(folder.path(), "");
    let change = |change: &dyn Fn(&mut Settings)| {
        let mut new = old.clone();
        change(&mut new);
        Plan::between(&old, &new)
    };
    type Change = fn(&mut Settings);
    let changes: [(&str, Change); 8] = [
        ("[server]", |new| new.server.url = "http://other:1".to_owned()),
        ("[colony]", |new| new.colony.id = "x".to_owned()),
        ("[runtime]", |new| new.runtime.runtime_type = "x".to_owned()),
        ("[agent] (other than max_age)", |new| {
            new.agent.state_dir = "/elsewhere".into();
        }),
        ("[metrics]", |new| {
            new.metrics.listen = Some("127.0.0.1:0".to_owned().try_into().unwrap());
        }),
        ("an interlock", |new| {
            let text = "[devices.a]\nkind = \"lamp\"\nline = \"A\"\ninterlock = \"x\"\n";
            let folder = tempfile::tempdir().unwrap();
            new.devices = parse(folder.path(), text).devices;
        }),
        ("[gpio]", |new| {
            new.gpio.backend = crate::device::gpio::BackendChoice::Cdev
        }),
        ("the credentials directory", |new| {
            new.credentials = Some("/elsewhere".into());
        }),
    ];
    for (key, changed) in changes {
        let error = change(&changed).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{key} changed: restart for that (systemctl restart outpost-agent)")
        );
    }
    assert_eq!(
        change(&|new| new.agent.max_age = Duration::ZERO).unwrap(),
        Plan::default()
    );
    let two = change(&|new| {
        new.server.url = "http://other:1".to_owned();
        new.agent.grace_time = Duration::ZERO;
    });
    assert!(two.unwrap_err().to_string().starts_with("[server], [agent]"));
}

/// As a signal does it: the manager hears of it, whatever comes of it; and what can't be read changes nothing.
#[tokio::test(start_paused = true)]
async fn a_request_is_told_from_its_beginning_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let notifier = Notifier::to(Some(path.as_os_str())).unwrap();
    let Bench {
        mut devices,
        mut current,
        board,
        folder,
        ..
    } = Bench::new(&lamp("lamp", "GPIO17"));
    let path = folder.path().to_owned();
    let registry = devices.registry().clone();
    let (requests, waiting) = mpsc::channel(1);
    let mut texts = vec![
        Ok(lamp("lamp", "GPIO27")),
        Err("agent.toml is not valid TOML: line 3".to_owned()),
    ];
    let mut reloads = Reloads::new(waiting, move || {
        texts.pop().unwrap().map(|text| parse(&path, &text))
    });
    let (health, stop) = (Health::new(), Cancellation::new());
    let (health2, stop2) = (health.clone(), stop.clone());
    let serving = tokio::spawn(async move {
        reloads
            .serve(&mut devices, &mut current, &notifier, &health2, &stop2)
            .await;
        current
    });
    let heard = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };

    requests.send(()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1");
    assert!(
        health
            .line()
            .contains("the last reload was refused: agent.toml is not"),
        "{}",
        health.line()
    );
    assert_eq!(board.physical("GPIO27"), None);
    assert!(registry.current().find("lamp.on").is_ok());

    requests.send(()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(heard().starts_with("RELOADING=1\n"));
    assert_eq!(heard(), "READY=1");
    assert!(!health.line().contains("refused"));
    assert!(board.physical("GPIO27").is_some());

    stop.cancel("enough");
    let current = serving.await.unwrap();
    let expected = parse(folder.path(), &lamp("lamp", "GPIO27"));
    assert_eq!(current.devices, expected.devices);
    // What `outpost-agent safe` would drive is what is open now.
    let kept = SafeList::load(folder.path()).unwrap();
    assert_eq!(kept, SafeList::of(&expected));
}

/// A device that may have something to do by itself.
struct Homing(Arc<AtomicBool>);

#[async_trait::async_trait]
impl Device for Homing {
    fn name(&self) -> &str {
        "lamp"
    }

    fn kind(&self) -> &'static str {
        "test"
    }

    fn verbs(&self) -> &[Verb] {
        &[]
    }

    fn time_to_safe(&self) -> Duration {
        Duration::ZERO
    }

    fn live(&self) -> Option<Arc<dyn Live>> {
        Some(Arc::new(Homing(self.0.clone())))
    }

    async fn perform(&mut self, _call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        Ok(Outcome::new())
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

impl Live for Homing {
    fn under_way(&self) -> Option<String> {
        let homing = self.0.load(Ordering::SeqCst);
        homing.then(|| "coming home".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_with_something_under_way_between_verbs_is_not_closed_and_the_agent_still_ends() {
    let mut bench = Bench::new(&lamp("lamp", "GPIO17"));
    let homing = Arc::new(AtomicBool::new(true));
    let device = owner::spawn(Box::new(Homing(homing.clone())), bench.clock.clone());
    let opened = bench.devices.configured.get_mut("lamp").unwrap();
    opened.device = Pool::of_one(device.clone());
    let changed = lamp("lamp", "GPIO27");
    let refused = bench.reload(&changed).await.unwrap_err();
    assert!(
        refused.contains("lamp changed and is busy with coming home"),
        "{refused}"
    );
    assert!(!device.is_busy(), "nothing is held back for it");
    assert!(device.tick().await.is_ok(), "it is open");
    homing.store(false, Ordering::SeqCst);
    bench.reload(&changed).await.unwrap();
    assert!(device.tick().await.is_err(), "closed");

    let device = owner::spawn(Box::new(Homing(homing.clone())), bench.clock.clone());
    let opened = bench.devices.configured.get_mut("lamp").unwrap();
    opened.device = Pool::of_one(device.clone());
    homing.store(true, Ordering::SeqCst);
    bench.devices.shutdown().await;
    assert!(device.tick().await.is_err(), "stopping asks nobody");
}
