//! The real programs, and the disk that they write to.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// About what a commit or a record of the journal writes.
const RECORD: [u8; 256] = [0x5a; 256];

/// A file that is synced as often as somebody wants to know how long that takes.
pub struct Disk(File);

impl Disk {
    pub fn new(folder: &Path) -> Self {
        Disk(File::create(folder.join("probe")).unwrap())
    }

    /// Appends a record and syncs it, as the agent's journal does.
    pub fn sync(&mut self) -> Duration {
        let began = Instant::now();
        self.0.write_all(&RECORD).unwrap();
        self.0.sync_data().unwrap();
        began.elapsed()
    }
}

fn command(program: &Path, folder: &Path, log: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OUTPOST_")) {
        command.env_remove(name);
    }
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join(log))
        .unwrap();
    command
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    command
}

fn lines(child: &mut Child) -> BufReader<ChildStdout> {
    BufReader::new(child.stdout.take().unwrap())
}

fn stop(child: &mut Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let _ = kill_process(pid, Signal::TERM);
    let _ = child.wait();
}

/// The hub, with a colony.
pub struct Hub {
    child: Child,
    /// Kept, so that the hub may write.
    _out: BufReader<ChildStdout>,
    folder: PathBuf,
    pub address: SocketAddr,
}

impl Hub {
    pub async fn start(program: &Path, folder: &Path) -> Self {
        let mut child = command(program, folder, "hub.log")
            .args([
                "--listen",
                "127.0.0.1:0",
                "--init-colony",
                "measure",
                "--data-dir",
            ])
            .arg(folder.join("hub"))
            .spawn()
            .unwrap();
        let mut out = lines(&mut child);
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert_ne!(
                out.read_line(&mut line).unwrap(),
                0,
                "the hub ended: {}",
                folder.display()
            );
        }
        let (_, address) = line.trim().split_once("http://").unwrap();
        Hub {
            child,
            _out: out,
            folder: folder.to_owned(),
            address: address.parse().unwrap(),
        }
    }

    pub fn colony_key(&self) -> PathBuf {
        self.folder.join("hub/keys/colony-measure.key")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

pub fn agent_key(folder: &Path) -> PathBuf {
    folder.join("agent.key")
}

/// The agent, with a lamp and a hazardous valve on a simulated board.
pub struct Agent {
    program: PathBuf,
    folder: PathBuf,
    running: Option<(Child, BufReader<ChildStdout>)>,
}

impl Agent {
    /// Writes its configuration, and starts nothing.
    pub fn new(program: &Path, folder: &Path, hub: &Hub, colony: &str) -> Self {
        let text = format!(
            r#"[server]
url = "http://{address}"
[colony]
id = "{colony}"
key_file = "{owner}"
[runtime]
type = "measured"
name = "measured"
key_file = "{key}"
[agent]
state_dir = "{state}"
[gpio]
backend = "simulated"
edge_times = true
[devices.lamp]
kind = "lamp"
line = "GPIO17"
[devices.valve]
kind = "lamp"
line = "GPIO27"
hazardous = true
"#,
            address = hub.address,
            owner = hub.colony_key().display(),
            key = agent_key(folder).display(),
            state = folder.join("agent").display(),
        );
        fs::write(folder.join("agent.toml"), text).unwrap();
        Agent {
            program: program.to_owned(),
            folder: folder.to_owned(),
            running: None,
        }
    }

    pub fn start(&mut self) {
        let mut child = command(&self.program, &self.folder, "agent.log")
            .arg("--config")
            .arg(self.folder.join("agent.toml"))
            .spawn()
            .unwrap();
        let out = lines(&mut child);
        self.running = Some((child, out));
    }

    pub fn stop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            stop(&mut child);
        }
    }

    /// Waits for the next edge; when it was, in nanoseconds since 1970.
    pub fn edge(&mut self) -> i128 {
        let (_, out) = self.running.as_mut().unwrap();
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.trim().split(' ').collect();
        let ["edge", _, _, at] = words[..] else {
            panic!("no edge: {line:?}; logs: {}", self.folder.display());
        };
        at.parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}
