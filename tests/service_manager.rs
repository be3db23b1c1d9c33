//! The real programs under a service manager: what they tell it, what they take from it.
#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(clippy::unwrap_used, missing_docs)]

mod agent_rig;

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use agent_rig::{PATIENCE, Program, Rig, out, run_agent_in, start_hub_in};
use outpost::protocol::PrivateKey;
use rustix::process::Signal;

/// The manager's end, and what came so far.
struct Manager {
    socket: UnixDatagram,
    address: String,
    heard: Vec<String>,
}

impl Manager {
    fn new(address: String) -> Self {
        let socket = match address.strip_prefix('@') {
            Some(name) => UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()),
            None => UnixDatagram::bind(&address),
        };
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager {
            socket,
            address,
            heard: Vec::new(),
        }
    }

    fn environment(&self) -> (&'static str, &OsStr) {
        ("NOTIFY_SOCKET", OsStr::new(&self.address))
    }

    /// Waits for a message that begins so; what came before it is forgotten.
    fn hears(&mut self, start: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| {
                panic!("{start:?} is never said ({error}); instead: {:#?}", self.heard)
            });
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.starts_with(start) {
                self.heard.clear();
                return message;
            }
            self.heard.push(message);
        }
    }
}

/// Waits for the end, while the socket is still there.
async fn ends_well(program: &mut Program) {
    assert!(program.ended().await.success(), "{}", program.log());
}

#[tokio::test]
async fn the_agent_tells_its_manager_how_it_is_from_start_to_stop() {
    let rig = Rig::start().await;
    let file = rig.configure("porch", "");
    let mut manager = Manager::new(rig.folder.path().join("notify").display().to_string());
    let watchdog = ("WATCHDOG_USEC", OsStr::new("400000"));
    let mut agent = run_agent_in(&file, &[manager.environment(), watchdog]);
    manager.hears("READY=1");
    manager.hears("STATUS=enrolled");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");

    // Busy or not, it lives.
    let sleeping = rig.submit(&rig.spec("sleep", &["2"], 30, 0)).await;
    manager.hears("STATUS=enrolled, working on 1 (sleep)");
    manager.hears("WATCHDOG=1");
    assert!(
        !rig.operator()
            .get_process(&sleeping)
            .await
            .unwrap()
            .value
            .state
            .is_final()
    );

    // Another line for the lamp: it is safe on the old one first.
    rig.successful(&rig.submit(&rig.spec("lamp.on", &[], 30, 0)).await)
        .await;
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("GPIO17", "GPIO27")).unwrap();
    agent.signal(Signal::HUP);
    let message = manager.hears("RELOADING=1\nMONOTONIC_USEC=");
    assert!(message.rsplit_once('=').unwrap().1.parse::<u64>().unwrap() > 0);
    manager.hears("READY=1");
    rig.successful(&rig.submit(&rig.spec("turn_on_lamp", &[], 30, 0)).await)
        .await;
    agent.line(2, "edge ");
    assert_eq!(
        agent.lines(),
        ["edge GPIO17 on", "edge GPIO17 off", "edge GPIO27 on"]
    );

    // What can't be used changes nothing, and is said.
    std::fs::write(&file, format!("{text}\n[devices.lamp]\n")).unwrap();
    agent.signal(Signal::HUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    let status = manager.hears("STATUS=enrolled; the last reload was refused: ");
    assert!(status.contains("porch.toml is not valid TOML"), "{status}");
    // And so is what needs a restart.
    std::fs::write(
        &file,
        text.replace("GPIO17", "GPIO27").replace("\"cli\"", "\"other\""),
    )
    .unwrap();
    agent.signal(Signal::HUP);
    manager.hears("STATUS=enrolled; the last reload was refused: [runtime] changed: restart for that");
    rig.successful(&rig.submit(&rig.spec("lamp.off", &[], 30, 0)).await)
        .await;

    agent.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    ends_well(&mut agent).await;
}

#[tokio::test]
async fn the_agent_is_ready_without_its_server_and_says_what_is_wrong() {
    let rig = Rig::start().await;
    let file = rig.configure("lonely", "");
    // A port that nobody listens on: one that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&rig.url, &format!("http://{port}"))).unwrap();
    let mut manager = Manager::new(format!("@outpost-agent-test-{}", std::process::id()));
    let mut agent = run_agent_in(&file, &[manager.environment()]);
    manager.hears("READY=1");
    let status = manager.hears("STATUS=not enrolled yet; can't enrol yet: ");
    assert!(status.contains(&port.to_string()), "{status}");
    agent.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    ends_well(&mut agent).await;
}

#[tokio::test]
async fn keys_that_the_manager_gave_are_used_and_never_written() {
    let rig = Rig::start().await;
    let file = rig.configure("given", "");
    let text = std::fs::read_to_string(&file).unwrap();
    let plain: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("key_file"))
        .collect();
    std::fs::write(&file, plain.join("\n")).unwrap();
    let credentials = rig.folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let key = "66".repeat(32);
    let put = |name: &str, text: &str| -> PathBuf {
        let path = credentials.join(name);
        std::fs::write(&path, text).unwrap();
        // As systemd shows a file to a user by an access control list.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).unwrap();
        path
    };
    let own = put("agent.key", &key);
    put("colony.key", &std::fs::read_to_string(&rig.colony_key).unwrap());
    let _agent = run_agent_in(&file, &[("CREDENTIALS_DIRECTORY", credentials.as_os_str())]);
    let process = rig
        .successful(&rig.submit(&rig.spec("echo", &["hello"], 30, 0)).await)
        .await;
    assert_eq!(out(&process, "output"), Some("hello"));
    let id = PrivateKey::from_hex(&key).unwrap().id();
    assert_eq!(process.assigned_runtime_id, id);
    assert_eq!(std::fs::read_to_string(own).unwrap(), key);
    assert!(!rig.folder.path().join("given/agent.key").exists());
}

#[tokio::test]
async fn a_manager_that_can_not_be_told_is_an_error_at_the_start() {
    let rig = Rig::start().await;
    let file = rig.configure("misled", "");
    let mut agent = run_agent_in(&file, &[("NOTIFY_SOCKET", OsStr::new("vsock:2:1"))]);
    assert_eq!(agent.ended().await.code(), Some(1));
    assert!(
        agent.log().contains("NOTIFY_SOCKET is \"vsock:2:1\""),
        "{}",
        agent.log()
    );
}

#[tokio::test]
async fn the_hub_is_ready_when_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(folder.path().join("notify").display().to_string());
    let mut hub = start_hub_in(folder.path(), "127.0.0.1:0", &[manager.environment()]);
    let status = manager.hears("STATUS=listening on http://127.0.0.1:");
    assert_eq!(status, format!("STATUS={}", hub.line(0, "listening on ")));
    manager.hears("READY=1");
    hub.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    ends_well(&mut hub).await;
}
