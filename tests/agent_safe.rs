//! `outpost-agent safe` as the service manager runs it: after the agent was killed, and its configuration broken.

#![cfg(feature = "agent")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers may stop it, too"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

const AGENT: &str = env!("CARGO_BIN_EXE_outpost-agent");

struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Rig {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn configure(&self, lamp: &str) -> PathBuf {
        let file = self.folder.path().join("agent.toml");
        // Nobody listens there: an agent works on its outputs without a server.
        let text = format!(
            "[server]\nurl = \"http://127.0.0.1:1\"\n[colony]\nid = \"{}\"\n[runtime]\ntype = \"cli\"\n\
             [agent]\nstate_dir = \"{}\"\n[gpio]\nbackend = \"simulated\"\n\
             [devices.lamp]\nkind = \"lamp\"\nline = \"GPIO17\"\n{lamp}",
            "a".repeat(64),
            self.state().display()
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn safe(&self, result: Option<&str>) -> Output {
        let mut command = Command::new(AGENT);
        command.arg("safe").arg("--state-dir").arg(self.state());
        command.env_remove("SERVICE_RESULT");
        command.envs(result.map(|result| ("SERVICE_RESULT", result)));
        command.output().unwrap()
    }
}

/// Killed when a test ends, however it does.
struct Agent {
    child: Child,
    /// Open as long as it writes there.
    _log: BufReader<ChildStderr>,
}

impl Agent {
    /// Returns once its devices are open.
    fn start(config: &Path) -> Self {
        let mut command = Command::new(AGENT);
        command
            .arg("--config")
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut all = String::new();
        while !all.contains("outpost-agent starts") {
            assert!(log.read_line(&mut all).unwrap() > 0, "it ended: {all}");
        }
        Agent { child, _log: log }
    }

    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::io::read_to_string(self.child.stdout.take().unwrap()).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn after_a_kill_outputs_are_made_safe_although_the_configuration_is_broken() {
    let rig = Rig::new();
    let config = rig.configure("on_start = \"on\"\n");
    let edges = Agent::start(&config).kill();
    assert_eq!(edges, "edge GPIO17 on\n");
    std::fs::write(&config, "[devices.lamp\nkind = ").unwrap();
    let safe = rig.safe(Some("signal"));
    assert_eq!(text(&safe.stdout), "edge GPIO17 off\n");
    assert_eq!(text(&safe.stderr), "lamp: GPIO17 (simulated) is off\n");
    assert_eq!(safe.status.code(), Some(0));
}

#[test]
fn after_a_kill_pwm_channels_are_made_safe_too() {
    let rig = Rig::new();
    let strip = "[devices.strip]\nkind = \"lamp\"\npwm = { channel = 0 }\non_start = \"on\"\n";
    let edges = Agent::start(&rig.configure(strip)).kill();
    assert_eq!(edges, "edge pwm/0 on\n");
    let safe = rig.safe(Some("signal"));
    assert_eq!(text(&safe.stdout), "edge GPIO17 off\nedge pwm/0 off\n");
    assert_eq!(
        text(&safe.stderr),
        "lamp: GPIO17 (simulated) is off\nstrip: pwm/0 (simulated) is off\n"
    );
    assert_eq!(safe.status.code(), Some(0));
}

#[test]
fn after_a_stop_that_was_asked_for_the_level_of_that_stays() {
    let rig = Rig::new();
    let config = rig.configure("on_stop = \"hold\"\n");
    Agent::start(&config).kill();
    let stopped = rig.safe(Some("success"));
    assert_eq!(text(&stopped.stdout), "");
    assert_eq!(text(&stopped.stderr), "lamp: left as it is\n");
    let crashed = rig.safe(None);
    assert_eq!(text(&crashed.stdout), "edge GPIO17 off\n");
}

#[test]
fn a_configuration_that_was_refused_leaves_the_last_good_list() {
    let rig = Rig::new();
    Agent::start(&rig.configure("")).kill();
    let before = std::fs::read(rig.state().join("safe.json")).unwrap();
    let config = rig.configure("safe = \"on\"\nmax_on = \"1y\"\n");
    let refused = Command::new(AGENT).arg("--config").arg(&config).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read(rig.state().join("safe.json")).unwrap(), before);
}

#[test]
fn without_a_list_it_says_so_and_fails() {
    let rig = Rig::new();
    let safe = rig.safe(None);
    assert_eq!(safe.status.code(), Some(1));
    assert!(
        text(&safe.stderr).contains("no list of outputs at"),
        "{}",
        text(&safe.stderr)
    );
}
