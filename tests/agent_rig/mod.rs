//! The real hub and the real agent as processes, and an operator who submits and looks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    dead_code,
    missing_docs
)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outpost::client::{Caller, Client, HttpSettings, HttpTransport, ServerUrl};
use outpost::clock::{SharedClock, SystemClock};
use outpost::protocol::PrivateKey;
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::{AttributeKind, Process, ProcessSpec, ProcessState, Runtime};

/// Nothing here may take longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process, the lines it writes and, for whoever has to find out why, what it logs.
pub struct Program {
    child: Child,
    lines: Arc<Lines>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Lines {
    seen: Mutex<Vec<String>>,
    more: Condvar,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Lines::default());
        let out = BufReader::new(child.stdout.take().unwrap());
        let to = lines.clone();
        let reading_lines = std::thread::spawn(move || {
            for line in out.lines() {
                let Ok(line) = line else { return };
                to.seen.lock().unwrap().push(line);
                to.more.notify_all();
            }
        });
        let log = Arc::new(Mutex::new(String::new()));
        let mut err = child.stderr.take().unwrap();
        let to = log.clone();
        let reading_log = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length) = err.read(&mut part) {
                if length == 0 {
                    return;
                }
                to.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&part[..length]));
            }
        });
        Program {
            child,
            lines,
            log,
            readers: vec![reading_lines, reading_log],
        }
    }

    /// What was written on standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.seen.lock().unwrap().clone()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for the `n`th line (from 0) that begins so.
    pub fn line(&self, n: usize, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.lines.seen.lock().unwrap();
        loop {
            if let Some(line) = seen.iter().filter(|line| line.starts_with(start)).nth(n) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line {start:?}; log:\n{}", self.log());
            seen = self.lines.more.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until the log contains a text.
    pub async fn logged(&self, text: &str) -> String {
        until(
            || {
                let log = self.log();
                let found = log.contains(text).then_some(log);
                std::future::ready(found)
            },
            || format!("{text:?} is never logged:\n{}", self.log()),
        )
        .await
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.read_to_the_end();
    }

    /// After its end: whatever it wrote is in [`Program::lines`].
    fn read_to_the_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.read_to_the_end();
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.child.id(), self.log());
        }
    }
}

/// Asks until there is an answer.
pub async fn until<T, F>(mut ask: impl FnMut() -> F, never: impl Fn() -> String) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{}", never());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A hub with one colony, its operator, and a folder for everything.
pub struct Rig {
    pub folder: tempfile::TempDir,
    pub hub: Program,
    pub url: String,
    pub colony_id: String,
    pub colony_key: PathBuf,
    operator: PrivateKey,
}

impl Rig {
    /// Starts the hub and enrols an operator.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = start_hub(folder.path(), "127.0.0.1:0");
        let url = hub.line(0, "listening on ")["listening on ".len()..].to_owned();
        let colony_key = folder.path().join("hub/keys/colony-test.key");
        let owner = PrivateKey::from_hex(std::fs::read_to_string(&colony_key).unwrap().trim()).unwrap();
        let rig = Rig {
            folder,
            hub,
            url,
            colony_id: owner.id(),
            colony_key,
            operator: PrivateKey::from_hex(&"55".repeat(32)).unwrap(),
        };
        let owner = rig.client().with_key(owner);
        let operator = Runtime {
            id: rig.operator.id(),
            name: "operator".to_owned(),
            runtime_type: "operator".to_owned(),
            colony_id: rig.colony_id.clone(),
            ..Runtime::default()
        };
        owner.add_runtime(&operator).await.unwrap();
        owner.approve_runtime(&operator.id).await.unwrap();
        rig
    }

    pub fn client(&self) -> Client {
        let clock: SharedClock = Arc::new(SystemClock);
        let url = ServerUrl::parse(&self.url).unwrap();
        let transport = HttpTransport::new(url, HttpSettings::default(), clock).unwrap();
        Client::new(transport, Dialect::Runtime)
    }

    pub fn operator(&self) -> Caller {
        self.client().with_key(self.operator.clone())
    }

    pub fn owner(&self) -> Caller {
        let key = std::fs::read_to_string(&self.colony_key).unwrap();
        self.client().with_key(PrivateKey::from_hex(key.trim()).unwrap())
    }

    /// `kill -9`, and a new life on the same port and data.
    pub fn kill_and_restart_hub(&mut self) {
        self.hub.kill();
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        self.hub = start_hub(self.folder.path(), &address);
        self.hub.line(0, "listening on ");
    }

    /// The configuration of an agent of that name with a simulated lamp. `more` goes into `[agent]`.
    pub fn configure(&self, name: &str, more: &str) -> PathBuf {
        let file = self.folder.path().join(format!("{name}.toml"));
        let text = format!(
            r#"
[server]
url = "{url}"
[colony]
id = "{colony}"
key_file = "{key}"
[runtime]
type = "cli"
name = "{name}"
[agent]
state_dir = "{state}"
backoff_min = "50ms"
backoff_max = "500ms"
{more}
[gpio]
backend = "simulated"
[devices.lamp]
kind = "lamp"
line = "GPIO17"
[functions]
turn_on_lamp = "lamp.on"
"#,
            url = self.url,
            colony = self.colony_id,
            key = self.colony_key.display(),
            state = self.folder.path().join(name).display(),
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Starts an agent that enrols itself.
    pub fn agent(&self, name: &str) -> Program {
        run_agent(&self.configure(name, ""))
    }

    pub async fn submit(&self, spec: &ProcessSpec) -> String {
        self.operator().submit(spec).await.unwrap().value.id
    }

    /// As the original command line reads a spec file: fills in the colony, and takes 0 for no limit.
    pub fn read_spec(&self, text: &str) -> ProcessSpec {
        let mut spec = Dialect::Runtime.read_spec(text.as_bytes()).unwrap();
        spec.conditions.colony_id = self.colony_id.clone();
        for limit in [&mut spec.max_wait_time, &mut spec.max_exec_time] {
            if *limit == 0 {
                *limit = -1;
            }
        }
        spec
    }

    pub fn spec(&self, func: &str, args: &[&str], max_exec_time: i64, max_retries: i64) -> ProcessSpec {
        let mut spec = ProcessSpec {
            func: func.to_owned(),
            args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
            max_wait_time: -1,
            max_exec_time,
            max_retries,
            ..ProcessSpec::default()
        };
        spec.conditions.colony_id = self.colony_id.clone();
        spec.conditions.runtime_type = "cli".to_owned();
        spec
    }

    /// Waits until a process is as wanted. The hub may be away meanwhile.
    pub async fn process_until(&self, id: &str, wanted: impl Fn(&Process) -> bool) -> Process {
        let operator = self.operator();
        let last = Mutex::new(None);
        until(
            || async {
                let process = operator.get_process(id).await.ok()?.value;
                let found = wanted(&process).then(|| process.clone());
                *last.lock().unwrap() = Some(process);
                found
            },
            || format!("never as wanted: {:#?}", last.lock().unwrap()),
        )
        .await
    }

    pub async fn ended(&self, id: &str) -> Process {
        self.process_until(id, |process| process.state.is_final()).await
    }

    pub async fn successful(&self, id: &str) -> Process {
        let process = self.ended(id).await;
        assert_eq!(process.state, ProcessState::Successful, "{process:#?}");
        process
    }

    pub async fn failed(&self, id: &str) -> Process {
        let process = self.ended(id).await;
        assert_eq!(process.state, ProcessState::Failed, "{process:#?}");
        process
    }
}

fn start_hub(folder: &Path, listen: &str) -> Program {
    start_hub_in(folder, listen, &[])
}

/// Starts a hub with further variables in its environment.
pub fn start_hub_in(folder: &Path, listen: &str, environment: &[(&str, &OsStr)]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outpost-hub"));
    command
        .args(["--listen", listen, "--init-colony", "test", "--data-dir"])
        .arg(folder.join("hub"))
        .envs(environment.iter().copied());
    Program::start(command)
}

/// Starts an agent with a configuration.
pub fn run_agent(file: &Path) -> Program {
    run_agent_in(file, &[])
}

/// Starts an agent with a configuration and further variables in its environment.
pub fn run_agent_in(file: &Path, environment: &[(&str, &OsStr)]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outpost-agent"));
    command
        .arg("--config")
        .arg(file)
        .envs(environment.iter().copied());
    Program::start(command)
}

/// The value of an OUT attribute.
pub fn out<'a>(process: &'a Process, key: &str) -> Option<&'a str> {
    let found = process
        .attributes
        .iter()
        .find(|attribute| attribute.kind == AttributeKind::Out && attribute.key == key);
    found.map(|attribute| attribute.value.as_str())
}
