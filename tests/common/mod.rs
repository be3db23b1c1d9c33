//! What the integration tests share: real hubs on free ports, and a plain HTTP client.
#![allow(dead_code)] // each test uses its part
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy allows them in test functions, not in what those share

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use outpost::keyfile;
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::{Conditions, Process, ProcessSpec, Runtime};
use outpost::protocol::{Answer, Envelope, Failure, PrivateKey, Reply, Request};

/// No answer of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The real program.
pub const HUB: &str = env!("CARGO_BIN_EXE_outpost-hub");

/// The colony that the hubs of the tests make.
pub const COLONY: &str = "dev";

/// A running hub; killed when dropped.
pub struct Hub {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its data directory.
    pub dir: PathBuf,
}

impl Hub {
    /// Starts a hub with the colony [`COLONY`] in a data directory, and waits until it serves.
    pub fn start(dir: &Path) -> Hub {
        Hub::start_with(dir, &[])
    }

    /// The same with further arguments.
    pub fn start_with(dir: &Path, args: &[&str]) -> Hub {
        let mut child = command()
            .args(["--listen", "127.0.0.1:0", "--init-colony", COLONY, "--data-dir"])
            .arg(dir)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("the hub said {line:?}"))
            .trim_end()
            .parse()
            .unwrap();
        Hub {
            child,
            addr,
            dir: dir.to_owned(),
        }
    }

    /// As `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Sends the signal and does not wait.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// The key of the server's owner.
    pub fn server_key(&self) -> PrivateKey {
        keyfile::load(&self.dir.join("keys/server.key")).unwrap()
    }

    /// The key of the colony's owner.
    pub fn colony_key(&self) -> PrivateKey {
        keyfile::load(&self.dir.join(format!("keys/colony-{COLONY}.key"))).unwrap()
    }

    /// Asks, signed with a key.
    pub fn ask(&self, key: &PrivateKey, request: &Request) -> Result<Answer, Failure> {
        let response = post(self.addr, &sealed(key, request));
        answer(request, &response)
    }

    /// Adds and approves a runtime of a type with a key.
    pub fn runtime(&self, key: &PrivateKey, runtime_type: &str) {
        let owner = self.colony_key();
        let runtime = Runtime {
            id: key.id(),
            runtime_type: runtime_type.to_owned(),
            name: "of a test".to_owned(),
            colony_id: owner.id(),
            ..Runtime::default()
        };
        self.ask(&owner, &Request::AddRuntime(runtime)).unwrap();
        let runtime_id = key.id();
        self.ask(&owner, &Request::ApproveRuntime { runtime_id }).unwrap();
    }

    /// A spec without limits for runtimes of a type.
    pub fn spec(&self, runtime_type: &str) -> ProcessSpec {
        ProcessSpec {
            func: "echo".to_owned(),
            max_wait_time: -1,
            max_exec_time: -1,
            conditions: Conditions {
                colony_id: self.colony_key().id(),
                runtime_type: runtime_type.to_owned(),
                ..Conditions::default()
            },
            ..ProcessSpec::default()
        }
    }

    /// Submits.
    pub fn submit(&self, key: &PrivateKey, spec: ProcessSpec) -> Process {
        process(self.ask(key, &Request::Submit(Box::new(spec))))
    }

    /// Asks for work.
    pub fn assign(&self, key: &PrivateKey, timeout: i64) -> Result<Answer, Failure> {
        self.ask(key, &self.assign_request(timeout))
    }

    /// The request for work.
    pub fn assign_request(&self, timeout: i64) -> Request {
        Request::Assign {
            colony_id: self.colony_key().id(),
            latest: false,
            timeout,
        }
    }

    /// One process.
    pub fn get(&self, key: &PrivateKey, id: &str) -> Process {
        let process_id = id.to_owned();
        process(self.ask(key, &Request::GetProcess { process_id }))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, without what the environment of the test may say to it.
pub fn command() -> Command {
    let mut command = Command::new(HUB);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OUTPOST_")) {
        command.env_remove(name);
    }
    command.env("OUTPOST_HUB__LOG", "error");
    command
}

/// A key made of a small number.
pub fn key(number: u8) -> PrivateKey {
    PrivateKey::from_hex(&format!("{number:02x}").repeat(32)).unwrap()
}

/// The process in an answer.
pub fn process(answer: Result<Answer, Failure>) -> Process {
    match answer {
        Ok(Answer::Process(process)) => *process,
        other => panic!("no process: {other:?}"),
    }
}

/// A signed request as it goes over the wire.
pub fn sealed(key: &PrivateKey, request: &Request) -> Vec<u8> {
    let dialect = Dialect::Runtime;
    let payload = dialect.encode_request(request);
    Envelope::seal(key, dialect.payload_type(request.kind()), &payload).to_bytes()
}

/// What a response says to a request.
pub fn answer(request: &Request, response: &Response) -> Result<Answer, Failure> {
    let reply = Reply::parse(&response.body).unwrap();
    if reply.error {
        let failure = reply.as_failure().unwrap();
        assert_eq!(failure.status, response.status, "both statuses agree");
        return Err(failure);
    }
    assert_eq!(response.status, 200);
    Ok(Dialect::Runtime
        .decode_answer(request.kind(), &reply.payload)
        .unwrap())
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(one, _)| one.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Posts to the API.
pub fn post(addr: SocketAddr, body: &[u8]) -> Response {
    http(addr, "POST", "/api", &[], body)
}

/// One request over a connection of its own.
pub fn http(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut stream = connect(addr);
    send(&mut stream, method, path, headers, body);
    receive(&mut stream)
}

/// A connection that gives up after [`PATIENCE`].
pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Writes a request.
pub fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: hub\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut whole = head.into_bytes();
    whole.extend_from_slice(body);
    stream.write_all(&whole).unwrap();
}

/// Reads a response.
pub fn receive(stream: &mut TcpStream) -> Response {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no response: {line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    let length = response
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    response.body = vec![0; length];
    reader.read_exact(&mut response.body).unwrap();
    response
}
