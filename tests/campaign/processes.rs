//! The real programs: started, killed, frozen, told to stop. What they write goes into files, which survive them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outpost::clock::{Clock, SystemClock};
use outpost::keyfile;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::fence::Broken;
use crate::plan::{OWN, SHARED, VALVES, device, is_hazardous};

/// Nothing that ends by itself may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is run.
pub struct Programs {
    pub hub: PathBuf,
    pub agent: PathBuf,
    /// What is done to the agents' fence.
    pub broken: Option<Broken>,
}

/// The host's wall clock, which the hub's ledger and the edges are stamped by: nanoseconds since 1970.
pub fn wall() -> i128 {
    SystemClock.wall_nanos()
}

fn start(program: &Path, arguments: &[&str], out: &Path, log: &Path) -> Child {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OUTPOST_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(out).unwrap())
        .stderr(File::options().create(true).append(true).open(log).unwrap())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Waits for its end; one that takes too long is killed, which is told.
async fn ended(child: &mut Child) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
    true
}

/// The hub.
pub struct Hub {
    program: PathBuf,
    folder: PathBuf,
    child: Child,
    pub address: SocketAddr,
}

impl Hub {
    /// Starts one with a colony in `folder`.
    pub async fn start(program: &Path, folder: &Path) -> Self {
        let (child, address) = start_hub(program, folder, "127.0.0.1:0").await.unwrap();
        Hub {
            program: program.to_owned(),
            folder: folder.to_owned(),
            child,
            address,
        }
    }

    pub fn colony_key(&self) -> PathBuf {
        self.folder.join("hub/keys/colony-campaign.key")
    }

    pub fn database(&self) -> PathBuf {
        self.folder.join("hub/hub.db")
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) {
        signal(&self.child, Signal::TERM);
        ended(&mut self.child).await;
    }

    /// Starts it again where it was. Somebody's connection may have its port meanwhile.
    pub async fn restart(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match start_hub(&self.program, &self.folder, &self.address.to_string()).await {
                Some((child, _)) => {
                    self.child = child;
                    return;
                }
                None => assert!(Instant::now() < deadline, "the hub does not start again"),
            }
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn start_hub(program: &Path, folder: &Path, listen: &str) -> Option<(Child, SocketAddr)> {
    let data = folder.join("hub");
    let out = folder.join("hub.out");
    let arguments = [
        "--listen",
        listen,
        "--init-colony",
        "campaign",
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let mut child = start(program, &arguments, &out, &folder.join("hub.log"));
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        let said = fs::read_to_string(&out).unwrap_or_default();
        if let Some(address) = said.strip_prefix("listening on http://")
            && let Some(address) = address.strip_suffix('\n')
        {
            return Some((child, address.parse().unwrap()));
        }
        sleep(Duration::from_millis(10)).await;
    }
    let _ = child.kill();
    let _ = child.wait();
    sleep(Duration::from_millis(200)).await;
    None
}

/// How a life of an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By kill -9.
    Killed,
    /// As told.
    Stopped,
    /// By itself, or it did not stop when it was told.
    Wrong,
}

/// From a start of an agent to its end; moments are [`wall`].
#[derive(Debug, Clone)]
pub struct Life {
    pub out: PathBuf,
    pub ended: i128,
    pub death: Death,
    /// From when to when it was frozen.
    pub freezes: Vec<(i128, i128)>,
}

/// An agent.
pub struct Agent {
    program: PathBuf,
    folder: PathBuf,
    name: String,
    pub id: String,
    /// It forgets everything but its key before each start.
    forgets: bool,
    child: Option<Child>,
    freezes: Vec<(i128, i128)>,
    pub lives: Vec<Life>,
}

impl Agent {
    /// Writes its configuration, and starts nothing.
    pub fn new(
        programs: &Programs,
        folder: &Path,
        number: usize,
        port: u16,
        colony: &str,
        hub: &Hub,
    ) -> Self {
        let name = format!("agent-{number:02}");
        let key = folder.join(format!("{name}.key"));
        let id = keyfile::load_or_create(&key).unwrap().id();
        let mut text = format!(
            r#"[server]
url = "http://127.0.0.1:{port}"
connect_timeout = "2s"
answer_timeout = "3s"
[colony]
id = "{colony}"
key_file = "{owner}"
[runtime]
type = "pair-{pair}"
name = "{name}"
key_file = "{key}"
[agent]
state_dir = "{state}"
poll_time = "3s"
grace_time = "1s"
backoff_min = "50ms"
backoff_max = "500ms"
[gpio]
backend = "simulated"
edge_times = true
"#,
            owner = hub.colony_key().display(),
            pair = number / 2,
            key = key.display(),
            state = folder.join(&name).display(),
        );
        for lamp in 0..OWN + SHARED + VALVES {
            let device = device(lamp);
            let _ = writeln!(
                text,
                "[devices.{device}{lamp}]\nkind = \"lamp\"\nline = \"GPIO{lamp}\"\nhazardous = {}",
                is_hazardous(device)
            );
        }
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
        Agent {
            program: programs.agent.clone(),
            folder: folder.to_owned(),
            name,
            id,
            forgets: programs.broken == Some(Broken::NoJournal),
            child: None,
            freezes: Vec::new(),
            lives: Vec::new(),
        }
    }

    fn out(&self) -> PathBuf {
        self.folder
            .join(format!("{}.{}.out", self.name, self.lives.len()))
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    pub fn start(&mut self) {
        if self.forgets {
            let _ = fs::remove_dir_all(self.folder.join(&self.name));
        }
        let config = self.folder.join(format!("{}.toml", self.name));
        let arguments = ["--config", config.to_str().unwrap()];
        self.child = Some(start(&self.program, &arguments, &self.out(), &self.log()));
    }

    /// True: it was alive until now.
    fn is_alive(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn died(&mut self, death: Death) {
        self.lives.push(Life {
            out: self.out(),
            ended: wall(),
            death,
            freezes: std::mem::take(&mut self.freezes),
        });
        self.child = None;
    }

    pub fn kill(&mut self) {
        let death = if self.is_alive() {
            Death::Killed
        } else {
            Death::Wrong
        };
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.died(death);
    }

    /// Tells it to stop, and waits for that.
    pub async fn stop(&mut self) {
        let mut death = Death::Wrong;
        if self.is_alive()
            && let Some(child) = &mut self.child
        {
            signal(child, Signal::TERM);
            if ended(child).await {
                death = Death::Stopped;
            }
        }
        self.died(death);
    }

    pub async fn freeze(&mut self, span: Duration) {
        let Some(child) = &self.child else { return };
        let from = wall();
        signal(child, Signal::STOP);
        sleep(span).await;
        signal(child, Signal::CONT);
        self.freezes.push((from, wall()));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
